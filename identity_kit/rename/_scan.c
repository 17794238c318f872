/* Renames the plain lines of a block of JSONL and points out the others.

   A line is plain when the exact path (match.py, cells.py) would change each name in it and nothing else, which a look
   at its bytes shows: every name is spelled as it was given, in a value that is text and cannot hold a URL, code, a file
   name or JSON, and in a sentence that is surely Chinese where that matters. Whatever is not sure is for the exact path.
   A test holds text and counts against those of the exact path.

   The block must be UTF-8 and one JSON value a line; scan() does not check that. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned char byte;

enum { MOST_FIELDS = 128, DEEPEST = 64, MOST_GAPS = 6 };
enum { ANY = 1, LEAD = 2 }; /* bits of Scanner's `here` and `next`: whatever follows; the first two bytes of a name */

typedef struct {
    byte *at;
    Py_ssize_t size;
} Text;

typedef struct {
    Text *items;
    Py_ssize_t count;
} Texts;

/* A first character of names: what may come second, or whether it is to be looked at whatever comes. */
typedef struct {
    Text first;
    Texts seconds;
    bool alone;
} Start;

typedef struct {
    const byte *at;
    Py_ssize_t key;
} Mark;

typedef struct {
    byte *at;
    Py_ssize_t size, room;
} Buffer;

typedef struct {
    PyObject_HEAD
    Texts keys, news, follows, leads;
    Start *starts;
    Py_ssize_t start_count;
    bool per_language, articles;
    byte here[256], next[256]; /* the pass over a block looks closer where a byte's and the next one's have a bit in common */
    bool odd[256];             /* bytes at which the pass over a value does */
    PyObject *allows;
    Text fields[MOST_FIELDS];
    bool allowed[MOST_FIELDS];
    Py_ssize_t field_count;
    Py_ssize_t *counts; /* keys x MOST_FIELDS, of the block at hand */
    Mark *marks;
    Py_ssize_t mark_count, mark_room;
} Scanner;

/* -- bytes ------------------------------------------------------------------------------------------------------- */

static bool begins(const byte *at, const byte *end, Text text) {
    return end - at >= text.size && memcmp(at, text.at, text.size) == 0;
}

static bool begins_with_any(const byte *at, const byte *end, Texts texts) {
    for (Py_ssize_t i = 0; i < texts.count; i++)
        if (begins(at, end, texts.items[i])) return true;
    return false;
}

static bool ends_with_any(const byte *start, const byte *at, Texts texts) {
    for (Py_ssize_t i = 0; i < texts.count; i++) {
        Text text = texts.items[i];
        if (at - start >= text.size && memcmp(at - text.size, text.at, text.size) == 0) return true;
    }
    return false;
}

static bool is_letter(byte c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }

/* U+4E00 to U+9FFF: Chinese characters and nothing else. */
static bool is_han(const byte *at) { return (at[0] >= 0xe5 && at[0] <= 0xe9) || (at[0] == 0xe4 && at[1] >= 0xb8); }

static int width(byte c) { return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4; }

/* The bytes of a character that may stand between two letters of a name (scan.py: GAP_CHAR, and more); else 0. */
static int gap(const byte *at, const byte *end) {
    byte c = at[0];
    if (c == '-' || c == '_' || c == '.' || c == ' ') return 1;
    if (c < 0xc2 || width(c) > end - at) return 0;
    switch (c) {
    case 0xe3: return (at[1] == 0x80 && (at[2] == 0x80 || at[2] >= 0xaa)) || at[1] == 0x82 || at[1] == 0x83 ? 3 : 0;
    case 0xef: return at[1] > 0xbd || at[1] < 0xbc || (at[1] == 0xbc && (at[2] == 0x8d || at[2] == 0x8e || at[2] == 0xbf)) ? 3 : 0;
    case 0xe0: case 0xe1: case 0xe2: case 0xea: return 3;
    case 0xf0: case 0xf3: return 4;
    default: return c == 0xc2 || (c >= 0xcc && c <= 0xdf) ? 2 : 0;
    }
}

/* Whether a name that ends here ends with its last letter: no invisible mark belongs to it, and no possessive. */
static bool is_clean(const byte *at, const byte *end) {
    if (at == end || at[0] < 0x80) return at == end || at[0] != '\'';
    if (at[0] >= 0xe4 && at[0] <= 0xe9) return true;
    if (end - at < 3) return false;
    if (at[0] == 0xe3) return at[1] == 0x80 && (at[2] <= 0xa9 || at[2] >= 0xb0);
    if (at[0] == 0xef) return at[1] == 0xbc || at[1] == 0xbd;
    if (at[0] == 0xe2) return at[1] == 0x80 && at[2] >= 0x90 && at[2] != 0x99 && (at[2] <= 0xa9 || at[2] >= 0xb0);
    return false;
}

static bool append(Buffer *out, const byte *at, Py_ssize_t size) {
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

/* -- names ------------------------------------------------------------------------------------------------------- */

/* Whether a name may stand here in another spelling than its own. */
static bool may_be_name(const Scanner *self, const byte *at, const byte *end) {
    for (Py_ssize_t i = 0; i < self->start_count; i++) {
        const Start *start = &self->starts[i];
        if (!begins(at, end, start->first)) continue;
        if (start->alone) return true;
        const byte *next = at + start->first.size;
        for (int gaps = 0; gaps <= MOST_GAPS && next < end; gaps++) {
            if (begins_with_any(next, end, start->seconds)) return true;
            int size = gap(next, end);
            if (size == 0) break;
            next += size;
        }
    }
    return false;
}

/* The number of the longest key that stands here as it was given, or -1. */
static Py_ssize_t key_at(const Scanner *self, const byte *at, const byte *end) {
    for (Py_ssize_t i = 0; i < self->keys.count; i++)
        if (begins(at, end, self->keys.items[i])) return i;
    return -1;
}

/* Whether a key that stands from `at` to `after` is part of a longer word, or may be. */
static bool in_longer_word(const Scanner *self, const byte *line, const byte *at, const byte *after, const byte *end) {
    if (!is_clean(after, end)) return true;
    if (self->follows.count && (begins_with_any(after, end, self->follows) || gap(after, end))) return true;
    if (self->leads.count == 0 || at == line) return false;
    const byte *before = at - 1;
    while (before > line && (*before & 0xc0) == 0x80) before--;
    return ends_with_any(line, at, self->leads) || gap(before, at);
}

/* Whether a place that `here` tells is one for the exact path: a template's slot, or an escape that may hide a name. */
static bool is_suspect(const byte *at, const byte *end) {
    Py_ssize_t left = end - at;
    switch (at[0]) {
    case '\\': return left > 1 && at[1] == 'u';
    case '{': return left > 1 && at[1] == '{';
    case '<': return left > 1 && strchr("NAOnao", at[1]) != NULL;
    case '[': return (left > 5 && memcmp(at, "[NAME]", 6) == 0) || (left > 7 && memcmp(at, "[AUTHOR]", 8) == 0);
    default: return false;
    }
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

/* -- values ------------------------------------------------------------------------------------------------------ */

/* What of a sentence is known so far: its Chinese characters and Latin words, the names apart. */
typedef struct {
    Py_ssize_t han, latin;
    bool word, named;
} Sentence;

/* Whether the exact path would call a sentence with a name Chinese (text.py: cjk_share). */
static bool is_chinese(const Sentence *sentence) {
    return !sentence->named || (sentence->han > 0 && 3 * sentence->han >= 2 * sentence->latin);
}

/* Whether an English article may stand before a name. */
static bool after_article(const byte *start, const byte *at) {
    const byte *before = at;
    while (before > start && before[-1] == ' ') before--;
    while (before - start > 1 && before[-1] == 0xa0 && before[-2] == 0xc2) before -= 2;
    return before < at && before > start && strchr("AaNn", before[-1]) != NULL;
}

/* What a full stop means: 1 ends a sentence, 0 does not, -1 may be part of a file name, a domain or something odd. */
static int full_stop(const byte *start, const byte *at, const byte *end) {
    const byte *next = at + 1;
    if (at > start && at[-1] == 'w') return -1;
    if (next == end || *next == ' ' || *next == '\\') return 1;
    if (*next < 0x80) return (*next >= 'a' && *next <= 'z') || *next == '7' ? -1 : 0;
    if (!is_han(next)) return -1;
    return memcmp(next, "\xe4\xb8\xad", 3) == 0 || memcmp(next, "\xe5\x85\xac", 3) == 0 ? -1 : 0; /* 中, 公 */
}

/* Whether nothing in a value can be part of a URL, code, a file name, a domain, or anything else that is odd. */
static bool no_zones(const Scanner *self, const byte *start, const byte *end) {
    for (const byte *at = start;; at++) {
        while (end - at > 4 && !(self->odd[at[0]] | self->odd[at[1]] | self->odd[at[2]] | self->odd[at[3]])) at += 4;
        while (at < end && !self->odd[*at]) at++;
        if (at == end) return true;
        switch (*at) {
        case '\\':
            if (strchr("n\"tr", *++at) == NULL) return false;
            break;
        case ':':
            if (end - at > 2 && at[1] == '/' && at[2] == '/') return false;
            break;
        case '.':
            if (full_stop(start, at, end) < 0) return false;
            break;
        default: return false;
        }
    }
}

/* Whether each sentence with a name is surely Chinese. The value has no zones. */
static bool in_chinese(const Scanner *self, const byte *start, const byte *end, const Mark *mark, const Mark *last) {
    Sentence sentence = {0};
    for (const byte *at = start; at < end;) {
        if (mark < last && at == mark->at) {
            if (at > start && at[-1] == '.') return false; /* which sentence it is in depends on which name is asked about */
            sentence.named = true;
            sentence.word = false;
            at += self->keys.items[mark++->key].size;
            continue;
        }
        byte c = *at;
        if (is_letter(c)) {
            sentence.latin += !sentence.word;
            sentence.word = true;
            at++;
            continue;
        }
        sentence.word = false;
        bool ends = false;
        int size = width(c);
        switch (c) {
        case '\\': size = 2, ends = at[1] == 'n'; break;
        case '.': ends = full_stop(start, at, end); break;
        case '!': case '?': case ';': ends = true; break;
        case 0xe3: ends = at[1] == 0x80 && at[2] == 0x82; break;
        case 0xef: ends = at[1] == 0xbc && (at[2] == 0x81 || at[2] == 0x9f || at[2] == 0x9b); break;
        default: sentence.han += c >= 0xe4 && is_han(at);
        }
        if (ends) {
            if (!is_chinese(&sentence)) return false;
            if (mark == last) return true;
            sentence = (Sentence){0};
        }
        at += size;
    }
    return is_chinese(&sentence);
}

/* Whether a value with names, the inside of a JSON string, is plain. */
static bool plain_value(const Scanner *self, const byte *start, const byte *end, const Mark *mark, const Mark *last) {
    if (*start == '{' || *start == '[' || !no_zones(self, start, end)) return false;
    for (const Mark *one = mark; self->articles && one < last; one++)
        if (after_article(start, one->at)) return false;
    return !self->per_language || in_chinese(self, start, end, mark, last);
}

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
            while (after < end && (*after == ' ' || *after == '\t')) after++;
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
        while (end - at > 4 && !(closer(self, at) | closer(self, at + 1) | closer(self, at + 2) | closer(self, at + 3))) at += 4;
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

static bool push(PyObject *list, const byte *at, Py_ssize_t size) {
    PyObject *item = PyBytes_FromStringAndSize((const char *)at, size);
    if (item == NULL) return false;
    int failed = PyList_Append(list, item);
    Py_DECREF(item);
    return !failed;
}

static bool push_number(PyObject *list, Py_ssize_t number) {
    PyObject *item = PyLong_FromSsize_t(number);
    if (item == NULL) return false;
    int failed = PyList_Append(list, item);
    Py_DECREF(item);
    return !failed;
}

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
            bool pushed = push(pieces, out.at, out.size) && push(pieces, line, line_end - line);
            if (!pushed || !push_number(numbers, lines)) goto done;
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
    PyObject *counts = push(pieces, out.at, out.size) ? taken_counts(self) : NULL;
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
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "_scan", .m_doc = "The plain lines of a block of JSONL, renamed.", .m_size = -1,
};

PyMODINIT_FUNC PyInit__scan(void) {
    PyObject *made = PyModule_Create(&module);
    PyObject *type = made ? PyType_FromSpec(&spec) : NULL;
    if (type == NULL || PyModule_AddObjectRef(made, "Scanner", type) < 0) Py_CLEAR(made);
    Py_XDECREF(type);
    return made;
}
