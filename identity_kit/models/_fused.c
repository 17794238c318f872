/* Row-wise steps of a decoder in 16 bits (bf16), each in one pass: norms, gated activation, rotary embedding, the way
   into and out of 8-bit products. In calls of a tensor library each of them takes two to seven passes over memory.

   Written for AVX-512 with its products in 16 bits; suits() says whether this processor has them. The functions take
   addresses and sizes; fused.py gives them those of tensors that it has checked. Sums and products are in 32 bits, results
   are rounded to the nearest bf16. Rows are shared out over threads and no sum crosses rows, so a result does not depend
   on how many threads there are. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if !defined(__GNUC__) || !defined(__x86_64__)
#error "written for GCC and Clang, and for AVX-512"
#endif

typedef uint16_t bf16;
typedef Py_ssize_t size;

/* -- threads ------------------------------------------------------------------------------------------------------ */

typedef void (*Body)(const void *job, size from, size to);

/* OpenMP's way to run a function on its threads. It comes from the library that torch has loaded, so that both use the same
   threads; a second set would fight for the cores. */
typedef void (*Parallel)(void (*run)(void *), void *data, unsigned threads, unsigned flags);

static Parallel parallel = NULL;
static size threads = 1;

#define PART 8 /* rows that a thread takes at once */

typedef struct {
    Body body;
    const void *job;
    size rows, next;
} Share;

static void take_parts(void *data) {
    Share *share = data;
    for (;;) {
        size from = __atomic_fetch_add(&share->next, PART, __ATOMIC_RELAXED);
        if (from >= share->rows) return;
        size to = from + PART < share->rows ? from + PART : share->rows;
        share->body(share->job, from, to);
    }
}

/* Each thread takes a few rows at once, until there are none. */
static void share_out(Body body, const void *job, size rows) {
    if (parallel != NULL && threads > 1 && rows > PART) {
        Share share = {body, job, rows, 0};
        parallel(take_parts, &share, (unsigned)threads, 0);
    } else {
        body(job, 0, rows);
    }
}

/* -- the processor ------------------------------------------------------------------------------------------------ */

#define INLINE static inline __attribute__((always_inline))
#define WIDE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))
#define WIDE_INLINE static inline WIDE

static bool is_wide(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bf16");
}

/* From the steps of a range of rows, those of all rows. */
#define SHARED(name)                                                                                      \
    WIDE static void name##_wide(const void *job, size from, size to) { name##_rows(job, from, to); }     \
    static void name##_all(const void *job, size rows) { share_out(name##_wide, job, rows); }

/* -- numbers ------------------------------------------------------------------------------------------------------ */

INLINE float widened(bf16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

INLINE bf16 rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16); /* halves to even */
}

/* e to the x: 2 to the whole part of x / ln 2 goes into the exponent, the rest through a polynomial. */
INLINE float power(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float whole = rintf(x * 1.44269504f);
    float rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float y = 1.0f / 720;
    y = y * rest + 1.0f / 120;
    y = y * rest + 1.0f / 24;
    y = y * rest + 1.0f / 6;
    y = y * rest + 0.5f;
    y = y * rest + 1.0f;
    y = y * rest + 1.0f;
    uint32_t bits;
    memcpy(&bits, &y, 4);
    bits += (uint32_t)(int32_t)whole << 23;
    memcpy(&y, &bits, 4);
    return y;
}

INLINE float sigmoid(float x) { return 1.0f / (1.0f + power(-x)); }

/* -- into and out of 8-bit products ------------------------------------------------------------------------------- */

typedef struct {
    const bf16 *x;
    size x_step, width;
    uint8_t *out;
    float *scale;
} Quantise;

/* Each row by its largest value to whole numbers -127 to 127, stored with 128 for zero. */
INLINE void quantise_rows(const void *given, size from, size to) {
    const Quantise *job = given;
    const size width = job->width;
    for (size t = from; t < to; t++) {
        const bf16 *restrict x = job->x + t * job->x_step;
        uint8_t *restrict out = job->out + t * width;
        uint32_t largest = 0; /* without its sign, a float is as large as its bits */
        for (size i = 0; i < width; i++) {
            uint32_t bits = x[i] & 0x7fff;
            largest = bits > largest ? bits : largest;
        }
        float most = widened((bf16)largest);
        most = most < 1e-28f ? 1e-28f : most;
        float by = 127.0f / most;
        for (size i = 0; i < width; i++) out[i] = (uint8_t)(int32_t)rintf(widened(x[i]) * by + 128.0f);
        job->scale[t] = most / 127.0f;
    }
}
SHARED(quantise)

typedef struct {
    bf16 *y;
    size step, width;
    const float *scale;
    const bf16 *bias, *low;
    size low_step, ranks;
    const uint32_t *pairs;
} Rescale;

/* Each row by its scale, plus the bias if there is one. */
INLINE void rescale_plainly(const Rescale *job, size from, size to) {
    const size width = job->width;
    for (size t = from; t < to; t++) {
        bf16 *restrict y = job->y + t * job->step;
        const bf16 *restrict bias = job->bias;
        const float by = job->scale[t];
        if (bias == NULL)
            for (size i = 0; i < width; i++) y[i] = rounded(widened(y[i]) * by);
        else
            for (size i = 0; i < width; i++) y[i] = rounded(widened(y[i]) * by + widened(bias[i]));
    }
}

#define LANES 16

/* The same, plus low (rows, ranks) times a matrix (ranks, width), of which two rows at a time lie value by value side by
   side in `pairs` (ranks / 2, width). PART rows at most. */
WIDE_INLINE void rescale_adapted(const Rescale *job, size from, size to) {
    const size width = job->width, couples = job->ranks / 2;
    const uint32_t *low[PART];
    bf16 *y[PART];
    float by[PART];
    for (size i = 0; i < PART; i++) {
        size t = from + i < to ? from + i : to - 1; /* what is missing is computed as the last row, and not stored */
        low[i] = (const uint32_t *)(job->low + t * job->low_step);
        y[i] = job->y + t * job->step;
        by[i] = job->scale[t];
    }
    for (size n = 0; n < width; n += LANES) {
        __mmask16 here = width - n < LANES ? (__mmask16)((1u << (width - n)) - 1) : 0xffff;
        __m512 bias = _mm512_setzero_ps(), sum[PART];
        if (job->bias != NULL)
            bias = _mm512_castsi512_ps(
                _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(here, job->bias + n)), 16));
        for (size i = 0; i < PART; i++) {
            __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(here, y[i] + n)), 16);
            sum[i] = _mm512_fmadd_ps(_mm512_castsi512_ps(wide), _mm512_set1_ps(by[i]), bias);
        }
        for (size r = 0; r < couples; r++) {
            __m512bh matrix = (__m512bh)_mm512_maskz_loadu_epi32(here, job->pairs + r * width + n);
            for (size i = 0; i < PART; i++)
                sum[i] = _mm512_dpbf16_ps(sum[i], matrix, (__m512bh)_mm512_set1_epi32((int)low[i][r]));
        }
        for (size i = 0; i < PART && from + i < to; i++)
            _mm256_mask_storeu_epi16(y[i] + n, here, (__m256i)_mm512_cvtneps_pbh(sum[i]));
    }
}

WIDE_INLINE void rescale_rows(const void *given, size from, size to) {
    const Rescale *job = given;
    if (job->ranks == 0) {
        rescale_plainly(job, from, to);
        return;
    }
    for (size t = from; t < to; t += PART) rescale_adapted(job, t, t + PART < to ? t + PART : to);
}
SHARED(rescale)

/* -- norms -------------------------------------------------------------------------------------------------------- */

typedef struct {
    const bf16 *h, *weight, *dy, *more;
    size width, out_step;
    float epsilon;
    bf16 *out;
    float *r;
} Norm;

INLINE void scaled_row(const Norm *job, size t) {
    const size width = job->width;
    const bf16 *restrict h = job->h + t * width, *restrict weight = job->weight;
    bf16 *restrict out = job->out + t * job->out_step;
    float r = job->r[t];
    for (size i = 0; i < width; i++) out[i] = rounded(widened(h[i]) * r * widened(weight[i]));
}

INLINE void scaled_rows(const void *given, size from, size to) {
    for (size t = from; t < to; t++) scaled_row(given, t);
}
SHARED(scaled)

INLINE void norm_rows(const void *given, size from, size to) {
    const Norm *job = given;
    const size width = job->width;
    for (size t = from; t < to; t++) {
        const bf16 *restrict h = job->h + t * width;
        float squares = 0;
        for (size i = 0; i < width; i++) squares += widened(h[i]) * widened(h[i]);
        job->r[t] = 1.0f / sqrtf(squares / (float)width + job->epsilon);
        scaled_row(job, t);
    }
}
SHARED(norm)

/* r (g - n mean(g n)) with g = dy weight and n = h r; `more` is added where it is given. */
INLINE void norm_backward_rows(const void *given, size from, size to) {
    const Norm *job = given;
    const size width = job->width;
    for (size t = from; t < to; t++) {
        const bf16 *restrict h = job->h + t * width, *restrict dy = job->dy + t * width;
        const bf16 *restrict weight = job->weight;
        bf16 *restrict out = job->out + t * job->out_step;
        float r = job->r[t], sum = 0;
        for (size i = 0; i < width; i++) sum += widened(dy[i]) * widened(weight[i]) * widened(h[i]);
        float share = sum * r * r / (float)width;
        if (job->more == NULL) {
            for (size i = 0; i < width; i++)
                out[i] = rounded(r * (widened(dy[i]) * widened(weight[i]) - widened(h[i]) * share));
            continue;
        }
        const bf16 *restrict more = job->more + t * width;
        for (size i = 0; i < width; i++)
            out[i] = rounded(r * (widened(dy[i]) * widened(weight[i]) - widened(h[i]) * share) + widened(more[i]));
    }
}
SHARED(norm_backward)

/* -- gated activation --------------------------------------------------------------------------------------------- */

typedef struct {
    const bf16 *gate_up, *d;
    size step, d_step, width, out_step;
    bf16 *out;
} Gate;

INLINE void swiglu_rows(const void *given, size from, size to) {
    const Gate *job = given;
    const size width = job->width;
    for (size t = from; t < to; t++) {
        const bf16 *restrict gate = job->gate_up + t * job->step, *restrict up = gate + width;
        bf16 *restrict out = job->out + t * job->out_step;
        for (size i = 0; i < width; i++) {
            float g = widened(gate[i]);
            out[i] = rounded(g * sigmoid(g) * widened(up[i]));
        }
    }
}
SHARED(swiglu)

INLINE void swiglu_backward_rows(const void *given, size from, size to) {
    const Gate *job = given;
    const size width = job->width;
    for (size t = from; t < to; t++) {
        const bf16 *restrict gate = job->gate_up + t * job->step, *restrict up = gate + width;
        const bf16 *restrict d = job->d + t * job->d_step;
        bf16 *restrict dgate = job->out + t * job->out_step, *restrict dup = dgate + width;
        for (size i = 0; i < width; i++) {
            float g = widened(gate[i]), s = sigmoid(g), by = widened(d[i]);
            dgate[i] = rounded(by * widened(up[i]) * s * (1.0f + g * (1.0f - s)));
            dup[i] = rounded(by * g * s);
        }
    }
}
SHARED(swiglu_backward)

/* -- rotary embedding --------------------------------------------------------------------------------------------- */

typedef struct {
    const bf16 *x, *cosine, *sine;
    size step, heads, half;
    bf16 *out;
} Rotate;

INLINE void rotate_rows(const void *given, size from, size to) {
    const Rotate *job = given;
    size half = job->half;
    for (size t = from; t < to; t++) {
        const bf16 *restrict c = job->cosine + t * half, *restrict s = job->sine + t * half;
        for (size head = 0; head < job->heads; head++) {
            const bf16 *restrict x = job->x + t * job->step + head * 2 * half;
            bf16 *restrict out = job->out + (t * job->heads + head) * 2 * half;
            for (size i = 0; i < half; i++) {
                float a = widened(x[i]), b = widened(x[half + i]), cosine = widened(c[i]), sine = widened(s[i]);
                out[i] = rounded(a * cosine - b * sine);
                out[half + i] = rounded(b * cosine + a * sine);
            }
        }
    }
}
SHARED(rotate)

/* -- for Python: addresses come as whole numbers ------------------------------------------------------------------ */

static PyObject *call_suits(PyObject *self, PyObject *none) { return PyBool_FromLong(is_wide()); }

static PyObject *call_threads(PyObject *self, PyObject *args) {
    size address, count;
    if (!PyArg_ParseTuple(args, "nn", &address, &count)) return NULL;
    parallel = (Parallel)(intptr_t)address;
    threads = count;
    Py_RETURN_NONE;
}

static PyObject *call_quantise(PyObject *self, PyObject *args) {
    size x, out, scale, rows;
    Quantise job;
    if (!PyArg_ParseTuple(args, "nnnnnn", &x, &job.x_step, &rows, &job.width, &out, &scale)) return NULL;
    job.x = (const bf16 *)x, job.out = (uint8_t *)out, job.scale = (float *)scale;
    quantise_all(&job, rows);
    Py_RETURN_NONE;
}

static PyObject *call_rescale(PyObject *self, PyObject *args) {
    size y, scale, bias, low, pairs, rows;
    Rescale job;
    if (!PyArg_ParseTuple(args, "nnnnnnnnnn", &y, &job.step, &rows, &job.width, &scale, &bias, &low, &job.low_step,
                          &job.ranks, &pairs))
        return NULL;
    job.y = (bf16 *)y, job.scale = (const float *)scale, job.bias = (const bf16 *)bias;
    job.low = (const bf16 *)low, job.pairs = (const uint32_t *)pairs;
    rescale_all(&job, rows);
    Py_RETURN_NONE;
}

static PyObject *call_norm(PyObject *self, PyObject *args) {
    size h, weight, out, r, rows;
    Norm job = {0};
    if (!PyArg_ParseTuple(args, "nnnnnnnf", &h, &rows, &job.width, &weight, &out, &job.out_step, &r, &job.epsilon))
        return NULL;
    job.h = (const bf16 *)h, job.weight = (const bf16 *)weight, job.out = (bf16 *)out, job.r = (float *)r;
    norm_all(&job, rows);
    Py_RETURN_NONE;
}

static PyObject *call_scaled(PyObject *self, PyObject *args) {
    size h, weight, out, r, rows;
    Norm job = {0};
    if (!PyArg_ParseTuple(args, "nnnnnnn", &h, &rows, &job.width, &weight, &out, &job.out_step, &r)) return NULL;
    job.h = (const bf16 *)h, job.weight = (const bf16 *)weight, job.out = (bf16 *)out, job.r = (float *)r;
    scaled_all(&job, rows);
    Py_RETURN_NONE;
}

static PyObject *call_norm_backward(PyObject *self, PyObject *args) {
    size dy, h, weight, r, more, out, rows;
    Norm job = {0};
    if (!PyArg_ParseTuple(args, "nnnnnnnn", &dy, &h, &rows, &job.width, &weight, &r, &more, &out)) return NULL;
    job.dy = (const bf16 *)dy, job.h = (const bf16 *)h, job.weight = (const bf16 *)weight, job.r = (float *)r;
    job.more = (const bf16 *)more, job.out = (bf16 *)out, job.out_step = job.width;
    norm_backward_all(&job, rows);
    Py_RETURN_NONE;
}

static PyObject *call_swiglu(PyObject *self, PyObject *args) {
    size gate_up, out, rows;
    Gate job = {0};
    if (!PyArg_ParseTuple(args, "nnnnnn", &gate_up, &job.step, &rows, &job.width, &out, &job.out_step)) return NULL;
    job.gate_up = (const bf16 *)gate_up, job.out = (bf16 *)out;
    swiglu_all(&job, rows);
    Py_RETURN_NONE;
}

static PyObject *call_swiglu_backward(PyObject *self, PyObject *args) {
    size d, gate_up, out, rows;
    Gate job;
    if (!PyArg_ParseTuple(
            args, "nnnnnnnn", &d, &job.d_step, &gate_up, &job.step, &rows, &job.width, &out, &job.out_step))
        return NULL;
    job.d = (const bf16 *)d, job.gate_up = (const bf16 *)gate_up, job.out = (bf16 *)out;
    swiglu_backward_all(&job, rows);
    Py_RETURN_NONE;
}

static PyObject *call_rotate(PyObject *self, PyObject *args) {
    size x, cosine, sine, out, rows;
    Rotate job;
    if (!PyArg_ParseTuple(args, "nnnnnnnn", &x, &job.step, &rows, &job.heads, &job.half, &cosine, &sine, &out))
        return NULL;
    job.x = (const bf16 *)x, job.cosine = (const bf16 *)cosine, job.sine = (const bf16 *)sine, job.out = (bf16 *)out;
    rotate_all(&job, rows);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"suits", call_suits, METH_NOARGS, NULL},
    {"threads", call_threads, METH_VARARGS, NULL},
    {"quantise", call_quantise, METH_VARARGS, NULL},
    {"rescale", call_rescale, METH_VARARGS, NULL},
    {"norm", call_norm, METH_VARARGS, NULL},
    {"scaled", call_scaled, METH_VARARGS, NULL},
    {"norm_backward", call_norm_backward, METH_VARARGS, NULL},
    {"swiglu", call_swiglu, METH_VARARGS, NULL},
    {"swiglu_backward", call_swiglu_backward, METH_VARARGS, NULL},
    {"rotate", call_rotate, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fused", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__fused(void) { return PyModule_Create(&module); }
