/* What may stand at a place of a line, told from its bytes: names, and whether a value with names is plain.

   Part of _scan.c. All texts are UTF-8. */

#include <Python.h>
#include <stdbool.h>
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
    PyObject_HEAD
    Texts keys, news, follows, leads;
    Start *starts;
    Py_ssize_t start_count;
    bool per_language, articles;
    /* The pass over a block looks closer where a byte and the next one have a bit in common, that over a value where
       a byte is odd. */
    byte here[256], next[256];
    bool odd[256];
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
    case 0xef:
        if (at[1] == 0xbc) return at[2] == 0x8d || at[2] == 0x8e || at[2] == 0xbf ? 3 : 0;
        return at[1] == 0xbd ? 0 : 3;
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
