/* Renames the plain lines of a block of JSONL and points out the others.

   A line is plain when the exact path (match.py, cells.py) would change each name in it and nothing else, which a look
   at its bytes shows: every name is spelled as it was given, in a value that is text and cannot hold a URL, code, a file
   name or JSON, and in a sentence that is surely Chinese where that matters. Whatever is not sure is for the exact path.
   A test holds text and counts against those of the exact path.

   The block must be UTF-8 and one JSON value a line; scan() does not check that. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdlib.h>

#include "_plain.h"

typedef struct {
    byte *at;
    Py_ssize_t size, room;
} Buffer;

static bool append(Buffer *out, const byte *at, Py_ssize_t size) {
    if (size == 0) return true;
    if (out->room - out->size < size) {
        Py_ssize_t room = 2 * out->room + size + 4096;
        byte *larger = realloc(out->at, room);
        if (larger == NULL) return false;
        out->at = larger;
        out->room = room;
    }
    memcpy(out->at + out->size, at, size);
    out->size += size;
    return true;
}

static bool add_mark(Scanner *self, const byte *at, Py_ssize_t key) {
    if (self->mark_count == self->mark_room) {
        Py_ssize_t room = 2 * self->mark_room + 64;
        Mark *larger = realloc(self->marks, room * sizeof(Mark));
        if (larger == NULL) return false;
        self->marks = larger;
        self->mark_room = room;
    }
    self->marks[self->mark_count++] = (Mark){at, key};
    return true;
}

/* -- a line ------------------------------------------------------------------------------------------------------- */

/* A field's number, -1 where its values are for the exact path, -2 after an error. */
static Py_ssize_t field_number(Scanner *self, Text name) {
    for (Py_ssize_t i = 0; i < self->field_count; i++)
        if (self->fields[i].size == name.size && memcmp(self->fields[i].at, name.at, name.size) == 0)
            return self->allowed[i] ? i : -1;
    if (self->field_count == MOST_FIELDS) return -1;
    PyObject *answer = PyObject_CallFunction(self->allows, "y#", (const char *)name.at, name.size);
    if (answer == NULL) return -2;
    bool allowed = PyObject_IsTrue(answer) == 1;
    Py_DECREF(answer);
    byte *copy = malloc(name.size + 1);
    if (copy == NULL) return PyErr_NoMemory(), -2;
    memcpy(copy, name.at, name.size);
    self->fields[self->field_count] = (Text){copy, name.size};
    self->allowed[self->field_count] = allowed;
    self->field_count++;
    return allowed ? self->field_count - 1 : -1;
}

/* Whether the line at hand, with its marks, is plain: 1, 0, or -1 after an error. `counted` gets each mark's field. */
static int plain_line(Scanner *self, const byte *line, const byte *end, Py_ssize_t *counted) {
    Text stack[DEEPEST], key = {(byte *)"", 0};
    int depth = 0;
    Mark *mark = self->marks, *last = self->marks + self->mark_count;
    for (const byte *at = line; at < end && mark < last; at++) {
        if (*at == '{' || *at == '[') {
            if (depth == DEEPEST) return 0;
            stack[depth++] = key;
        } else if (*at == '}' || *at == ']') {
            if (depth) key = stack[--depth];
        } else if (*at == '"') {
            const byte *start = at + 1;
            for (at = start; at < end && *at != '"'; at++)
                if (*at == '\\') at++;
            if (at >= end) return 0;
            const byte *after = at + 1;
            while (after < end && (*after == ' ' || *after == '\t' || *after == '\r')) after++;
            bool is_key = after < end && *after == ':';
            if (is_key) key = (Text){(byte *)start, at - start};
            Mark *first = mark;
            while (mark < last && mark->at < at) mark++;
            if (first == mark) continue;
            if (is_key || !plain_value(self, start, at, first, mark)) return 0;
            Py_ssize_t field = field_number(self, key);
            if (field < 0) return field == -1 ? 0 : -1;
            while (first < mark) counted[first++ - self->marks] = field;
        }
    }
    return mark == last;
}

/* -- a block ----------------------------------------------------------------------------------------------------- */

/* Whether to look closer at a place. A NUL stands at the end of a block. */
static inline int closer(const Scanner *self, const byte *at) { return self->here[at[0]] & self->next[at[1]]; }

/* Finds the end of the line that starts here and its marks. Whether it holds only such; -1 after an error. */
static int read_line(Scanner *self, const byte *line, const byte *end, const byte **line_end) {
    self->mark_count = 0;
    for (const byte *at = line;; at++) {
        while (end - at > 4
               && !(closer(self, at) | closer(self, at + 1) | closer(self, at + 2) | closer(self, at + 3)))
            at += 4;
        while (at < end && !closer(self, at)) at++;
        if (at == end || *at == '\n') {
            *line_end = at;
            return 1;
        }
        bool look = false;
        if (*at < 0x80 && is_suspect(at, end)) look = true;
        else {
            Py_ssize_t key = key_at(self, at, end);
            if (key < 0) look = may_be_name(self, at, end);
            else {
                const byte *after = at + self->keys.items[key].size;
                look = in_longer_word(self, line, at, after, end);
                if (!look && !add_mark(self, at, key)) return PyErr_NoMemory(), -1;
                at = after - 1;
            }
        }
        if (look) {
            const byte *found = memchr(at, '\n', end - at);
            *line_end = found ? found : end;
            return 0;
        }
    }
}

/* Appends a new object, which the list then holds alone. */
static bool push(PyObject *list, PyObject *item) {
    if (item == NULL) return false;
    int failed = PyList_Append(list, item);
    Py_DECREF(item);
    return !failed;
}

static PyObject *bytes_of(const byte *at, Py_ssize_t size) { return PyBytes_FromStringAndSize((const char *)at, size); }

/* The counts of a block as {(key's number, field): times}. */
static PyObject *taken_counts(Scanner *self) {
    PyObject *counts = PyDict_New();
    for (Py_ssize_t key = 0; counts && key < self->keys.count; key++) {
        for (Py_ssize_t field = 0; field < self->field_count; field++) {
            Py_ssize_t times = self->counts[key * MOST_FIELDS + field];
            if (times == 0) continue;
            Text name = self->fields[field];
            PyObject *place = Py_BuildValue("(ny#)", key, (const char *)name.at, name.size);
            PyObject *number = PyLong_FromSsize_t(times);
            bool failed = place == NULL || number == NULL || PyDict_SetItem(counts, place, number) < 0;
            Py_XDECREF(place);
            Py_XDECREF(number);
            if (failed) {
                Py_CLEAR(counts);
                break;
            }
        }
    }
    return counts;
}

PyDoc_STRVAR(scan_doc,
"scan(block, first) -> (pieces, numbers, lines, changed, counts), or None where a line does not start like an object.\n\n"
"pieces: what is done, a line for the exact path, what is done, and so on; numbers: the place of each such line in the\n"
"block, from 0; lines: how many there are; changed: how many were renamed here; counts: {(number of a key, field): times}.\n"
"first: of how many lines with names the first ones are for the exact path whatever they hold.");

static PyObject *scan(Scanner *self, PyObject *args) {
    PyObject *block;
    Py_ssize_t first, size;
    char *bytes;
    if (!PyArg_ParseTuple(args, "Sn", &block, &first) || PyBytes_AsStringAndSize(block, &bytes, &size) < 0) return NULL;
    const byte *at = (byte *)bytes, *end = at + size, *copied = at;
    Buffer out = {0};
    PyObject *pieces = PyList_New(0), *numbers = PyList_New(0), *answer = NULL;
    Py_ssize_t lines = 0, changed = 0, *counted = NULL, counted_room = 0;
    memset(self->counts, 0, (self->keys.count * MOST_FIELDS + 1) * sizeof(Py_ssize_t));
    if (pieces == NULL || numbers == NULL) goto done;
    for (; at < end; lines++) {
        const byte *line = at, *line_end;
        while (at < end && (*at == ' ' || *at == '\t')) at++;
        if (at == end || *at != '{') {
            answer = Py_NewRef(Py_None);
            goto done;
        }
        int plain = read_line(self, line, end, &line_end);
        if (plain < 0) goto done;
        at = line_end < end ? line_end + 1 : end;
        if (plain && self->mark_count == 0) continue;
        if (counted_room < self->mark_room) {
            Py_ssize_t *larger = realloc(counted, self->mark_room * sizeof(Py_ssize_t));
            if (larger == NULL) goto no_memory;
            counted = larger;
            counted_room = self->mark_room;
        }
        if (first > 0) first--, plain = 0;
        if (plain) plain = plain_line(self, line, line_end, counted);
        if (plain < 0) goto done;
        if (!plain) {
            if (!append(&out, copied, line - copied)) goto no_memory;
            if (!push(pieces, bytes_of(out.at, out.size)) || !push(pieces, bytes_of(line, line_end - line))
                || !push(numbers, PyLong_FromSsize_t(lines)))
                goto done;
            out.size = 0;
            copied = line_end;
            continue;
        }
        changed++;
        for (Py_ssize_t i = 0; i < self->mark_count; i++) {
            Mark mark = self->marks[i];
            Text new = self->news.items[mark.key];
            if (!append(&out, copied, mark.at - copied) || !append(&out, new.at, new.size)) goto no_memory;
            copied = mark.at + self->keys.items[mark.key].size;
            self->counts[mark.key * MOST_FIELDS + counted[i]]++;
        }
    }
    if (!append(&out, copied, end - copied)) goto no_memory;
    PyObject *counts = push(pieces, bytes_of(out.at, out.size)) ? taken_counts(self) : NULL;
    if (counts) answer = Py_BuildValue("(OOnnN)", pieces, numbers, lines, changed, counts);
    goto done;
no_memory:
    PyErr_NoMemory();
done:
    free(out.at);
    free(counted);
    Py_XDECREF(pieces);
    Py_XDECREF(numbers);
    return answer;
}

/* -- the type ---------------------------------------------------------------------------------------------------- */

static void free_texts(Texts *texts) {
    for (Py_ssize_t i = 0; i < texts->count; i++) free(texts->items[i].at);
    free(texts->items);
    *texts = (Texts){0};
}

static bool read_text(PyObject *item, Text *text) {
    char *at;
    if (PyBytes_AsStringAndSize(item, &at, &text->size) < 0) return false;
    text->at = malloc(text->size + 1);
    if (text->at == NULL) return PyErr_NoMemory(), false;
    memcpy(text->at, at, text->size);
    return true;
}

static bool read_texts(PyObject *list, Texts *texts) {
    Py_ssize_t size = PyList_Size(list);
    if (size < 0) return false;
    texts->items = calloc(size + 1, sizeof(Text));
    if (texts->items == NULL) return PyErr_NoMemory(), false;
    for (; texts->count < size; texts->count++)
        if (!read_text(PyList_GetItem(list, texts->count), &texts->items[texts->count])) return false;
    return true;
}

static bool read_starts(Scanner *self, PyObject *list) {
    Py_ssize_t size = PyList_Size(list);
    if (size < 0) return false;
    self->starts = calloc(size + 1, sizeof(Start));
    if (self->starts == NULL) return PyErr_NoMemory(), false;
    for (; self->start_count < size; self->start_count++) {
        Start *start = &self->starts[self->start_count];
        PyObject *first, *seconds;
        int alone;
        if (!PyArg_ParseTuple(PyList_GetItem(list, self->start_count), "SO!p", &first, &PyList_Type, &seconds, &alone))
            return false;
        start->alone = alone;
        if (!read_text(first, &start->first)) return false;
        bool ascii = start->first.size == 1;
        self->here[start->first.at[0]] |= ascii ? ANY : LEAD;
        if (!ascii) self->next[start->first.at[1]] |= LEAD;
        if (!read_texts(seconds, &start->seconds)) {
            self->start_count++;
            return false;
        }
    }
    return true;
}

PyDoc_STRVAR(scanner_doc,
"Scanner(keys, news, starts, follows, leads, per_language, articles, allows)\n\n"
"keys: names in UTF-8, longest first; news: what each becomes. starts: (first character, second characters, whether the\n"
"first one is enough) of every spelling of a name. follows, leads: what makes a key part of a longer word, right after\n"
"and right before it. per_language: whether the sentence must be Chinese. articles: whether `a` or `an` before a name\n"
"may have to change. allows: called once with each field that holds a name; whether its values may be plain.");

static int scanner_init(Scanner *self, PyObject *args, PyObject *options) {
    PyObject *keys, *news, *starts, *follows, *leads, *allows;
    int per_language, articles;
    static char *names[] = {"keys", "news", "starts", "follows", "leads", "per_language", "articles", "allows", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, options, "OOOOOppO", names, &keys, &news, &starts, &follows, &leads,
                                     &per_language, &articles, &allows))
        return -1;
    if (self->counts) return PyErr_SetString(PyExc_TypeError, "a Scanner is made once"), -1;
    self->per_language = per_language;
    self->articles = articles;
    self->allows = Py_NewRef(allows);
    for (const char *c = "\n\\{<["; *c; c++) self->here[(byte)*c] = ANY;
    memset(self->next, ANY, sizeof self->next);
    for (const char *c = "`@<\\:."; *c; c++) self->odd[(byte)*c] = true;
    if (!read_texts(keys, &self->keys) || !read_texts(news, &self->news) || !read_starts(self, starts)
        || !read_texts(follows, &self->follows) || !read_texts(leads, &self->leads))
        return -1;
    if (self->keys.count != self->news.count) return PyErr_SetString(PyExc_ValueError, "as many news as keys"), -1;
    self->counts = calloc(self->keys.count * MOST_FIELDS + 1, sizeof(Py_ssize_t));
    if (self->counts == NULL) return PyErr_NoMemory(), -1;
    return 0;
}

static void scanner_dealloc(Scanner *self) {
    free_texts(&self->keys);
    free_texts(&self->news);
    free_texts(&self->follows);
    free_texts(&self->leads);
    for (Py_ssize_t i = 0; i < self->start_count; i++) {
        free(self->starts[i].first.at);
        free_texts(&self->starts[i].seconds);
    }
    free(self->starts);
    for (Py_ssize_t i = 0; i < self->field_count; i++) free(self->fields[i].at);
    free(self->counts);
    free(self->marks);
    Py_XDECREF(self->allows);
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {{"scan", (PyCFunction)scan, METH_VARARGS, scan_doc}, {NULL, NULL, 0, NULL}};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)scanner_doc},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, scanner_init},
    {Py_tp_dealloc, scanner_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {"identity_kit.rename._scan.Scanner", sizeof(Scanner), 0, Py_TPFLAGS_DEFAULT, slots};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_scan",
    .m_doc = "The plain lines of a block of JSONL, renamed.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__scan(void) {
    PyObject *made = PyModule_Create(&module);
    PyObject *type = made ? PyType_FromSpec(&spec) : NULL;
    if (type == NULL || PyModule_AddObjectRef(made, "Scanner", type) < 0) Py_CLEAR(made);
    Py_XDECREF(type);
    return made;
}
