/* ProtoJSON to wire octets and back for plain messages, with no objects in between.
 *
 * A Plan holds the fields of a message type and of the types below it. `show` turns wire octets into
 * JSON, `read` turns JSON into wire octets. Both answer None for whatever is not plain: rare types,
 * unusual spellings, anything malformed. Then the codec reads the same octets by every rule, so that
 * this file decides nothing that another does not decide alike; tests hold the one to the other.
 *
 * Every read is checked against the end of its octets; recursion and output have bounds.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* FieldDescriptorProto.Type */
enum {
    DOUBLE = 1, FLOAT, INT64, UINT64, INT32, FIXED64, FIXED32, BOOL, STRING, GROUP, MESSAGE, BYTES,
    UINT32, ENUM, SFIXED32, SFIXED64, SINT32, SINT64
};
static const int8_t WIRE_TYPE[19] = {-1, 1, 5, 0, 0, 0, 1, 5, 0, 2, -1, 2, 2, 0, 0, 5, 1, 0, 0};

/* Flags of a field. FOREIGN: its values are for the codec. OPEN: its enum takes unknown numbers. */
enum { REPEATED = 1, MAP = 2, PRESENCE = 4, FOREIGN = 8, OPEN = 16 };
/* How a message looks as JSON. */
enum { OBJECT = 0, TIMESTAMP, DURATION, WRAPPER };

#define MOST_FIELDS 128
#define MOST_NUMBER 511
#define MOST_DEPTH 32
#define MOST_KEYS 64
/* Names and defaults may make a text many times as long as its message. */
#define MOST_OCTETS (UINT64_C(64) << 20)
#define MAX_SECONDS INT64_C(253402300799)
#define MIN_SECONDS INT64_C(-62135596800)
#define MAX_DURATION INT64_C(315576000000)

/* What the parts below return. */
enum { DONE = 0, NOT_PLAIN = -1, NO_MEMORY = -2 };
#define TRY(call) do { int tried_ = (call); if (tried_) return tried_; } while (0)

typedef struct { const char *octets; Py_ssize_t size; } Text;
typedef struct { int32_t number; Text text; } Name;

typedef struct {
    uint32_t number;
    uint8_t kind, flags, oneof;
    int sub;          /* the type of a message, or of a map's entries */
    Text key;         /* `"name":` */
    Text zero;        /* shown when it is absent; empty: nothing is */
    Name *shown;      /* of an enum: the name of each number, ascending */
    Py_ssize_t shown_count;
    Name *known;      /* of an enum: all names, the shortest first, equally long ones in order */
    Py_ssize_t known_count;
} Field;

typedef struct { Text name; int field; } Slot;

typedef struct {
    int form;
    int count;
    Field *fields;    /* in the order of the declaration */
    int16_t *by_number;
    int highest;
    Slot *slots;      /* open addressing; a free one has no name */
    uint32_t mask;
} Type;

typedef struct {
    PyObject_HEAD
    PyObject *source; /* keeps the texts alive */
    int long_numbers;
    int count;
    Type *types;
} Plan;

typedef struct { char *data; size_t size, room; } Buffer;

static int grow(Buffer *out, size_t more)
{
    size_t room = out->room + out->room / 2 + more;
    if (room > MOST_OCTETS)
        return NOT_PLAIN;
    char *data = PyMem_Realloc(out->data, room);
    if (!data)
        return NO_MEMORY;
    out->data = data;
    out->room = room;
    return DONE;
}

static inline int need(Buffer *out, size_t more)
{
    return out->room - out->size >= more ? DONE : grow(out, more);
}

static inline int put(Buffer *out, const void *octets, size_t size)
{
    TRY(need(out, size));
    memcpy(out->data + out->size, octets, size);
    out->size += size;
    return DONE;
}

static inline int put_char(Buffer *out, char one)
{
    TRY(need(out, 1));
    out->data[out->size++] = one;
    return DONE;
}

static size_t digits(char *at, uint64_t value)
{
    char turned[20];
    size_t size = 0;
    do {
        turned[size++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < size; i++)
        at[i] = turned[size - 1 - i];
    return size;
}

static int put_number(Buffer *out, uint64_t magnitude, int is_negative, int is_quoted)
{
    TRY(need(out, 24));
    char *at = out->data + out->size;
    if (is_quoted)
        *at++ = '"';
    if (is_negative)
        *at++ = '-';
    at += digits(at, magnitude);
    if (is_quoted)
        *at++ = '"';
    out->size = (size_t)(at - out->data);
    return DONE;
}

/* UTF-8 and the octets that JSON strings escape. */

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

static inline int is_dull(const uint8_t *at)
{
    /* Eight octets that are ASCII, no control, no quote and no backslash. */
    uint64_t word;
    memcpy(&word, at, 8);
    uint64_t quote = word ^ (ONES * '"'), slash = word ^ (ONES * '\\');
    uint64_t found = word | (word - ONES * 0x20) | ((quote - ONES) & ~quote) | ((slash - ONES) & ~slash);
    return !(found & HIGHS);
}

/* The size of the character of two octets or more at `at`, or 0 if it is none (RFC 3629). */
static int rune(const uint8_t *at, const uint8_t *end)
{
    uint8_t first = at[0];
    size_t left = (size_t)(end - at);
    if (first < 0xC2 || first > 0xF4 || left < 2 || (at[1] & 0xC0) != 0x80)
        return 0;
    if (first < 0xE0)
        return 2;
    if (left < 3 || (at[2] & 0xC0) != 0x80)
        return 0;
    if (first < 0xF0) {
        if ((first == 0xE0 && at[1] < 0xA0) || (first == 0xED && at[1] > 0x9F))
            return 0;
        return 3;
    }
    if (left < 4 || (at[3] & 0xC0) != 0x80)
        return 0;
    if ((first == 0xF0 && at[1] < 0x90) || (first == 0xF4 && at[1] > 0x8F))
        return 0;
    return 4;
}

/* The end of the run of octets that stand in a JSON string as they are; NULL if it is no UTF-8. */
static const uint8_t *plain_run(const uint8_t *at, const uint8_t *end)
{
    for (;;) {
        while (end - at >= 8 && is_dull(at))
            at += 8;
        if (at == end)
            return at;
        uint8_t one = *at;
        if (one >= 0x80) {
            int size = rune(at, end);
            if (!size)
                return NULL;
            at += size;
        } else if (one < 0x20 || one == '"' || one == '\\') {
            return at;
        } else {
            at++;
        }
    }
}

static int put_string(Buffer *out, const uint8_t *at, const uint8_t *end)
{
    static const char HEX[] = "0123456789abcdef";
    TRY(put_char(out, '"'));
    while (at < end) {
        const uint8_t *stop = plain_run(at, end);
        if (!stop)
            return NOT_PLAIN;
        TRY(put(out, at, (size_t)(stop - at)));
        if (stop == end)
            break;
        char escaped[6] = {'\\', 'u', '0', '0', HEX[*stop >> 4], HEX[*stop & 15]};
        size_t size = 2;
        switch (*stop) {
        case '"': escaped[1] = '"'; break;
        case '\\': escaped[1] = '\\'; break;
        case '\b': escaped[1] = 'b'; break;
        case '\f': escaped[1] = 'f'; break;
        case '\n': escaped[1] = 'n'; break;
        case '\r': escaped[1] = 'r'; break;
        case '\t': escaped[1] = 't'; break;
        default: size = 6;
        }
        TRY(put(out, escaped, size));
        at = stop + 1;
    }
    return put_char(out, '"');
}

static int put_base64(Buffer *out, const uint8_t *at, size_t size)
{
    static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    TRY(need(out, (size + 2) / 3 * 4 + 2));
    char *to = out->data + out->size;
    *to++ = '"';
    while (size) {
        uint32_t some = (uint32_t)at[0] << 16 | (size > 1 ? at[1] << 8 : 0) | (size > 2 ? at[2] : 0);
        *to++ = LETTERS[some >> 18];
        *to++ = LETTERS[some >> 12 & 63];
        *to++ = size > 1 ? LETTERS[some >> 6 & 63] : '=';
        *to++ = size > 2 ? LETTERS[some & 63] : '=';
        size_t taken = size > 2 ? 3 : size;
        at += taken;
        size -= taken;
    }
    *to++ = '"';
    out->size = (size_t)(to - out->data);
    return DONE;
}

static int put_double(Buffer *out, double value)
{
    if (isnan(value))
        return put(out, "\"NaN\"", 5);
    if (isinf(value))
        return value > 0 ? put(out, "\"Infinity\"", 10) : put(out, "\"-Infinity\"", 11);
    char *text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (!text)
        return NO_MEMORY;
    int result = put(out, text, strlen(text));
    PyMem_Free(text);
    return result;
}

/* Wire octets to JSON */

static inline int get_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    const uint8_t *from = *at;
    uint64_t found = 0;
    for (int shift = 0; shift < 64 && from < end; shift += 7) {
        uint64_t one = *from++;
        if (shift == 63 && one > 1)
            return NOT_PLAIN;
        found |= (one & 0x7F) << shift;
        if (one < 0x80) {
            *value = found;
            *at = from;
            return DONE;
        }
    }
    return NOT_PLAIN;
}

/* A tag in its shortest form: what padded ones mean is the codec's to judge. */
static inline int get_tag(const uint8_t **at, const uint8_t *end, uint64_t *tag)
{
    const uint8_t *start = *at;
    TRY(get_varint(at, end, tag));
    if (*tag < 8 || *tag > UINT32_MAX || (*at - start > 1 && !(*at)[-1]))
        return NOT_PLAIN;
    return DONE;
}

static int get_fixed(const uint8_t **at, const uint8_t *end, int size, uint64_t *value)
{
    if (end - *at < size)
        return NOT_PLAIN;
    uint64_t found = 0;
    for (int i = size - 1; i >= 0; i--)
        found = found << 8 | (*at)[i];
    *value = found;
    *at += size;
    return DONE;
}

/* The octets of a length-delimited value. */
static int get_part(const uint8_t **at, const uint8_t *end, const uint8_t **part)
{
    uint64_t size;
    TRY(get_varint(at, end, &size));
    if (size > (uint64_t)(end - *at))
        return NOT_PLAIN;
    *part = *at;
    *at += size;
    return DONE;
}

static int skip(const uint8_t **at, const uint8_t *end, int wire_type)
{
    uint64_t unused;
    const uint8_t *part;
    switch (wire_type) {
    case 0: return get_varint(at, end, &unused);
    case 1: return get_fixed(at, end, 8, &unused);
    case 2: return get_part(at, end, &part);
    case 5: return get_fixed(at, end, 4, &unused);
    default: return NOT_PLAIN;
    }
}

static int show_message(Buffer *, const Plan *, int, const uint8_t *, const uint8_t *, int);

static int show_enum(Buffer *out, const Field *field, int32_t number)
{
    Py_ssize_t low = 0, high = field->shown_count;
    /* Most enums count up from 0. */
    if (number >= 0 && number < high && field->shown[number].number == number)
        return put(out, field->shown[number].text.octets, (size_t)field->shown[number].text.size);
    while (low < high) {
        Py_ssize_t middle = (low + high) / 2;
        const Name *name = &field->shown[middle];
        if (name->number == number)
            return put(out, name->text.octets, (size_t)name->text.size);
        if (name->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (!(field->flags & OPEN))
        return NOT_PLAIN;
    return put_number(out, number < 0 ? -(uint64_t)number : (uint64_t)number, number < 0, 0);
}

static int show_long(Buffer *out, const Plan *plan, int64_t value, int is_key)
{
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    return put_number(
        out, magnitude, value < 0, is_key || !plan->long_numbers || magnitude >= UINT64_C(1) << 53);
}

/* A value that is no string, octets or message, by the octets it has on the wire. */
static int show_scalar(
    Buffer *out, const Plan *plan, const Field *field, uint64_t raw, int is_key)
{
    switch (field->kind) {
    case DOUBLE: {
        double value;
        memcpy(&value, &raw, 8);
        return put_double(out, value);
    }
    case FLOAT: {
        uint32_t half = (uint32_t)raw;
        float value;
        memcpy(&value, &half, 4);
        return put_double(out, value);
    }
    case INT64:
    case SFIXED64:
        return show_long(out, plan, (int64_t)raw, is_key);
    case SINT64:
        return show_long(out, plan, (int64_t)(raw >> 1 ^ -(raw & 1)), is_key);
    case UINT64:
    case FIXED64:
        return put_number(
            out, raw, 0, is_key || !plan->long_numbers || raw >= UINT64_C(1) << 53);
    case UINT32:
    case FIXED32:
        return raw > UINT32_MAX ? NOT_PLAIN : put_number(out, raw, 0, is_key);
    case BOOL:
        if (raw > 1)
            return NOT_PLAIN;
        if (is_key)
            return raw ? put(out, "\"true\"", 6) : put(out, "\"false\"", 7);
        return raw ? put(out, "true", 4) : put(out, "false", 5);
    case SINT32:
        if (raw > UINT32_MAX)
            return NOT_PLAIN;
        raw = raw >> 1 ^ -(raw & 1);
        break;
    case SFIXED32:
        raw = (uint64_t)(int64_t)(int32_t)(uint32_t)raw;
        break;
    case INT32:
    case ENUM:
        break;
    default:
        return NOT_PLAIN;
    }
    int64_t value = (int64_t)raw;
    if (value < INT32_MIN || value > INT32_MAX)
        return NOT_PLAIN;
    if (field->kind == ENUM)
        return show_enum(out, field, (int32_t)value);
    return put_number(out, value < 0 ? -(uint64_t)value : (uint64_t)value, value < 0, is_key);
}

/* One value at `*at`. With `is_zero`, it is left out and 1 told there where it is the default. */
static int show_value(
    Buffer *out, const Plan *plan, const Field *field, const uint8_t **at, const uint8_t *end,
    int depth, int is_key, int *is_zero)
{
    const uint8_t *part;
    uint64_t raw = 0;
    switch (field->kind) {
    case STRING:
    case BYTES:
        TRY(get_part(at, end, &part));
        if (is_zero && part == *at) {
            *is_zero = 1;
            return DONE;
        }
        if (field->kind == STRING)
            return put_string(out, part, *at);
        return put_base64(out, part, (size_t)(*at - part));
    case MESSAGE:
        TRY(get_part(at, end, &part));
        return show_message(out, plan, field->sub, part, *at, depth + 1);
    default:
        break;
    }
    switch (WIRE_TYPE[field->kind]) {
    case 0: TRY(get_varint(at, end, &raw)); break;
    case 1: TRY(get_fixed(at, end, 8, &raw)); break;
    default: TRY(get_fixed(at, end, 4, &raw)); break;
    }
    if (is_zero && !raw) {
        *is_zero = 1;
        return DONE;
    }
    return show_scalar(out, plan, field, raw, is_key);
}

/* Seconds and nanos, each at most once. */
static int get_moment(const uint8_t *at, const uint8_t *end, int64_t *seconds, int64_t *nanos)
{
    uint64_t raw;
    *seconds = *nanos = 0;
    if (at < end && *at == 0x08) {
        at++;
        TRY(get_varint(&at, end, &raw));
        *seconds = (int64_t)raw;
    }
    if (at < end && *at == 0x10) {
        at++;
        TRY(get_varint(&at, end, &raw));
        *nanos = (int64_t)raw;
    }
    return at == end ? DONE : NOT_PLAIN;
}

/* Nothing, or a point and 3, 6 or 9 digits. */
static char *put_fraction(char *at, int64_t nanos)
{
    int places = 9;
    if (!nanos)
        return at;
    while (places > 3 && nanos % 1000 == 0) {
        nanos /= 1000;
        places -= 3;
    }
    *at = '.';
    for (int i = places; i > 0; i--, nanos /= 10)
        at[i] = (char)('0' + nanos % 10);
    return at + 1 + places;
}

static char *put_padded(char *at, int64_t value, int places)
{
    for (int i = places - 1; i >= 0; i--, value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + places;
}

static int show_timestamp(Buffer *out, const uint8_t *at, const uint8_t *end)
{
    int64_t seconds, nanos;
    TRY(get_moment(at, end, &seconds, &nanos));
    if (seconds < MIN_SECONDS || seconds > MAX_SECONDS || nanos < 0 || nanos > 999999999)
        return NOT_PLAIN;
    TRY(need(out, 40));
    /* Days to year, month and day, in years that begin in March (the leap day comes last). */
    int64_t days = (seconds - MIN_SECONDS) / 86400 + 306, rest = (seconds - MIN_SECONDS) % 86400;
    int64_t era = days / 146097, of_era = days % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * month + 2) / 5 + 1;
    month += month < 10 ? 3 : -9;
    year += era * 400 + (month <= 2);
    char *to = out->data + out->size;
    *to++ = '"';
    to = put_padded(to, year, 4);
    *to++ = '-';
    to = put_padded(to, month, 2);
    *to++ = '-';
    to = put_padded(to, day, 2);
    *to++ = 'T';
    to = put_padded(to, rest / 3600, 2);
    *to++ = ':';
    to = put_padded(to, rest / 60 % 60, 2);
    *to++ = ':';
    to = put_padded(to, rest % 60, 2);
    to = put_fraction(to, nanos);
    *to++ = 'Z';
    *to++ = '"';
    out->size = (size_t)(to - out->data);
    return DONE;
}

static int show_duration(Buffer *out, const uint8_t *at, const uint8_t *end)
{
    int64_t seconds, nanos;
    TRY(get_moment(at, end, &seconds, &nanos));
    int is_negative = seconds < 0 || nanos < 0;
    if (is_negative) {
        if (seconds > 0 || nanos > 0 || seconds < -MAX_DURATION)
            return NOT_PLAIN;
        seconds = -seconds;
        if (nanos < -999999999)
            return NOT_PLAIN;
        nanos = -nanos;
    }
    /* What lies beyond the last whole second is the codec's to judge. */
    if (seconds >= MAX_DURATION || nanos > 999999999)
        return NOT_PLAIN;
    TRY(need(out, 40));
    char *to = out->data + out->size;
    *to++ = '"';
    if (is_negative)
        *to++ = '-';
    to += digits(to, (uint64_t)seconds);
    to = put_fraction(to, nanos);
    *to++ = 's';
    *to++ = '"';
    out->size = (size_t)(to - out->data);
    return DONE;
}

static int show_wrapper(
    Buffer *out, const Plan *plan, const Type *type, const uint8_t *at, const uint8_t *end, int depth)
{
    const Field *field = &type->fields[0];
    if (at == end)
        return put(out, field->zero.octets, (size_t)field->zero.size);
    if (*at++ != (1 << 3 | WIRE_TYPE[field->kind]))
        return NOT_PLAIN;
    TRY(show_value(out, plan, field, &at, end, depth, 0, NULL));
    return at == end ? DONE : NOT_PLAIN;
}

/* Where the text of a key stands in the output, which may move. */
typedef struct { size_t start, size; } Key;

static int show_entry(
    Buffer *out, const Plan *plan, const Type *type, const uint8_t *at, const uint8_t *end,
    int depth, Key *key)
{
    for (int i = 0; i < 2; i++) {
        const Field *field = &type->fields[i];
        /* Both are there, in order: so writes every library but for defaults. */
        if (at == end || *at++ != ((i + 1) << 3 | WIRE_TYPE[field->kind]))
            return NOT_PLAIN;
        if (i)
            TRY(put_char(out, ':'));
        else
            key->start = out->size;
        TRY(show_value(out, plan, field, &at, end, depth, i == 0, NULL));
        if (!i)
            key->size = out->size - key->start;
    }
    return at == end ? DONE : NOT_PLAIN;
}

/* All occurrences of a repeated field or map, which stand one after the other. */
static int show_run(
    Buffer *out, const Plan *plan, const Field *field, const uint8_t *at, const uint8_t *end,
    int depth)
{
    int is_map = field->flags & MAP;
    size_t start = out->size, count = 0;
    Key keys[MOST_KEYS];
    TRY(put(out, field->key.octets, (size_t)field->key.size));
    TRY(put_char(out, is_map ? '{' : '['));
    while (at < end) {
        uint64_t tag;
        const uint8_t *part;
        TRY(get_varint(&at, end, &tag));
        if (is_map) {
            if (count == MOST_KEYS)
                return NOT_PLAIN;
            if (count)
                TRY(put_char(out, ','));
            TRY(get_part(&at, end, &part));
            TRY(show_entry(out, plan, &plan->types[field->sub], part, at, depth, &keys[count]));
            /* Of a key given twice, in whatever octets, the last counts. */
            for (size_t i = 0; i < count; i++)
                if (keys[i].size == keys[count].size
                    && !memcmp(out->data + keys[i].start, out->data + keys[count].start, keys[i].size))
                    return NOT_PLAIN;
            count++;
        } else if ((tag & 7) == 2 && WIRE_TYPE[field->kind] != 2) {
            TRY(get_part(&at, end, &part));
            while (part < at) {
                if (count++)
                    TRY(put_char(out, ','));
                TRY(show_value(out, plan, field, &part, at, depth, 0, NULL));
            }
        } else {
            if (count++)
                TRY(put_char(out, ','));
            TRY(show_value(out, plan, field, &at, end, depth, 0, NULL));
        }
    }
    if (!count) {
        /* Packed, and empty: as if it were not there. */
        out->size = start;
        if (!field->zero.size)
            return DONE;
        TRY(put(out, field->key.octets, (size_t)field->key.size));
        TRY(put(out, field->zero.octets, (size_t)field->zero.size));
        return put_char(out, ',');
    }
    TRY(put_char(out, is_map ? '}' : ']'));
    return put_char(out, ',');
}

typedef struct { const uint8_t *at, *end; } Run;

/* Where the occurrences of each field stand; fields outside the type are passed over. */
static int find_runs(const Type *type, const uint8_t *at, const uint8_t *end, Run *runs)
{
    uint64_t oneofs = 0;
    memset(runs, 0, (size_t)type->count * sizeof(Run));
    while (at < end) {
        uint64_t tag;
        const uint8_t *start = at;
        TRY(get_tag(&at, end, &tag));
        int wire_type = tag & 7, index = -1;
        if (tag >> 3 <= (uint64_t)type->highest)
            index = type->by_number[tag >> 3];
        TRY(skip(&at, end, wire_type));
        if (index < 0)
            continue;
        const Field *field = &type->fields[index];
        Run *run = &runs[index];
        if (field->flags & FOREIGN)
            return NOT_PLAIN;
        if (wire_type != WIRE_TYPE[field->kind] || field->flags & MAP) {
            /* Packed, or the entry of a map. */
            if (wire_type != 2 || !(field->flags & (REPEATED | MAP)))
                return NOT_PLAIN;
        }
        if (!run->at)
            run->at = start;
        else if (!(field->flags & (REPEATED | MAP)) || run->end != start)
            return NOT_PLAIN;
        run->end = at;
        if (field->oneof) {
            uint64_t bit = UINT64_C(1) << (field->oneof - 1);
            if (oneofs & bit)
                return NOT_PLAIN;
            oneofs |= bit;
        }
    }
    return DONE;
}

static int show_message(
    Buffer *out, const Plan *plan, int index, const uint8_t *at, const uint8_t *end, int depth)
{
    const Type *type = &plan->types[index];
    Run runs[MOST_FIELDS];
    if (depth > MOST_DEPTH)
        return NOT_PLAIN;
    switch (type->form) {
    case TIMESTAMP: return show_timestamp(out, at, end);
    case DURATION: return show_duration(out, at, end);
    case WRAPPER: return show_wrapper(out, plan, type, at, end, depth);
    default: break;
    }
    TRY(find_runs(type, at, end, runs));
    TRY(put_char(out, '{'));
    size_t start = out->size;
    for (int i = 0; i < type->count; i++) {
        const Field *field = &type->fields[i];
        if (runs[i].at && field->flags & (REPEATED | MAP)) {
            TRY(show_run(out, plan, field, runs[i].at, runs[i].end, depth));
            continue;
        }
        int is_zero = !runs[i].at;
        size_t before = out->size;
        if (!is_zero) {
            uint64_t tag;
            const uint8_t *from = runs[i].at;
            TRY(get_varint(&from, runs[i].end, &tag));
            TRY(put(out, field->key.octets, (size_t)field->key.size));
            TRY(show_value(
                out, plan, field, &from, runs[i].end, depth, 0,
                field->flags & PRESENCE ? NULL : &is_zero));
        }
        if (is_zero) {
            out->size = before;
            if (!field->zero.size)
                continue;
            TRY(put(out, field->key.octets, (size_t)field->key.size));
            TRY(put(out, field->zero.octets, (size_t)field->zero.size));
        }
        TRY(put_char(out, ','));
    }
    if (out->size > start)
        out->size--;
    return put_char(out, '}');
}

/* JSON to wire octets */

typedef struct { const uint8_t *at, *end; } Input;

static inline void pass_space(Input *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t'))
        in->at++;
}

static inline int take(Input *in, char one)
{
    pass_space(in);
    if (in->at == in->end || *in->at != (uint8_t)one)
        return NOT_PLAIN;
    in->at++;
    return DONE;
}

static inline int next_is(Input *in, char one)
{
    pass_space(in);
    return in->at < in->end && *in->at == (uint8_t)one;
}

static int take_word(Input *in, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, word, size))
        return NOT_PLAIN;
    in->at += size;
    return DONE;
}

/* The text of a string in which nothing is escaped. */
static int take_text(Input *in, Text *text)
{
    TRY(take(in, '"'));
    const uint8_t *stop = plain_run(in->at, in->end);
    if (!stop || stop == in->end || *stop != '"')
        return NOT_PLAIN;
    text->octets = (const char *)in->at;
    text->size = (Py_ssize_t)(stop - in->at);
    in->at = stop + 1;
    return DONE;
}

static int put_varint(Buffer *out, uint64_t value)
{
    TRY(need(out, 10));
    uint8_t *at = (uint8_t *)out->data + out->size;
    while (value > 0x7F) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    out->size = (size_t)((char *)at - out->data);
    return DONE;
}

static int put_fixed(Buffer *out, uint64_t value, int size)
{
    TRY(need(out, 8));
    for (int i = 0; i < size; i++, value >>= 8)
        out->data[out->size++] = (char)(value & 0xFF);
    return DONE;
}

static inline int put_tag(Buffer *out, uint32_t number, int wire_type)
{
    return put_varint(out, (uint64_t)number << 3 | (uint64_t)wire_type);
}

/* A length-delimited part begins: one octet is kept for its length. */
static int begin_part(Buffer *out, size_t *start)
{
    TRY(put_char(out, 0));
    *start = out->size;
    return DONE;
}

static int end_part(Buffer *out, size_t start)
{
    size_t size = out->size - start;
    if (size < 0x80) {
        out->data[start - 1] = (char)size;
        return DONE;
    }
    int more = 0;
    for (size_t left = size >> 7; left; left >>= 7)
        more++;
    TRY(need(out, (size_t)more));
    memmove(out->data + start + more, out->data + start, size);
    out->size = start - 1;
    TRY(put_varint(out, size));
    out->size += size;
    return DONE;
}

static int read_string(Buffer *out, Input *in)
{
    size_t start;
    TRY(take(in, '"'));
    TRY(begin_part(out, &start));
    for (;;) {
        const uint8_t *stop = plain_run(in->at, in->end);
        if (!stop || in->end - stop < 2)
            /* At least a quote, and what follows the string. */
            return NOT_PLAIN;
        TRY(put(out, in->at, (size_t)(stop - in->at)));
        in->at = stop + 1;
        if (*stop == '"')
            return end_part(out, start);
        if (*stop != '\\')
            return NOT_PLAIN;
        char meant;
        switch (*in->at++) {
        case '"': meant = '"'; break;
        case '\\': meant = '\\'; break;
        case '/': meant = '/'; break;
        case 'b': meant = '\b'; break;
        case 'f': meant = '\f'; break;
        case 'n': meant = '\n'; break;
        case 'r': meant = '\r'; break;
        case 't': meant = '\t'; break;
        default: return NOT_PLAIN;
        }
        TRY(put_char(out, meant));
    }
}

static int sextet(char letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    return letter == '+' ? 62 : letter == '/' ? 63 : -1;
}

/* Standard alphabet, padded; its other spellings are the codec's. */
static int read_bytes(Buffer *out, Input *in)
{
    Text text;
    TRY(take_text(in, &text));
    if (text.size % 4)
        return NOT_PLAIN;
    Py_ssize_t pads = 0;
    while (pads < 2 && pads < text.size && text.octets[text.size - 1 - pads] == '=')
        pads++;
    size_t size = (size_t)(text.size / 4 * 3 - pads);
    TRY(put_varint(out, size));
    TRY(need(out, size + 3));
    for (Py_ssize_t i = 0; i < text.size; i += 4) {
        uint32_t some = 0;
        Py_ssize_t here = i + 4 == text.size ? 4 - pads : 4;
        for (Py_ssize_t k = 0; k < 4; k++) {
            int six = k < here ? sextet(text.octets[i + k]) : 0;
            if (six < 0)
                return NOT_PLAIN;
            some = some << 6 | (uint32_t)six;
        }
        /* Bits that belong to no octet are to be 0. */
        if ((here == 3 && some & 0xFF) || (here == 2 && some & 0xFFFF))
            return NOT_PLAIN;
        for (Py_ssize_t k = 0; k < here - 1; k++)
            out->data[out->size++] = (char)(some >> (16 - 8 * k) & 0xFF);
    }
    return DONE;
}

/* An integer in plain digits, as JSON has them. */
static int take_integer(Input *in, uint64_t *magnitude, int *is_negative)
{
    uint64_t value = 0;
    *is_negative = in->at < in->end && *in->at == '-';
    if (*is_negative)
        in->at++;
    const uint8_t *start = in->at;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9') {
        if (in->at - start >= 20 || value > (UINT64_MAX - (uint64_t)(*in->at - '0')) / 10)
            return NOT_PLAIN;
        value = value * 10 + (uint64_t)(*in->at++ - '0');
    }
    if (in->at == start || (*start == '0' && (in->at - start > 1 || *is_negative)))
        return NOT_PLAIN;
    *magnitude = value;
    return DONE;
}

static int ends_number(const Input *in)
{
    return in->at < in->end && memchr(",]} \n\r\t", *in->at, 7) != NULL;
}

/* The octets of an integer of this kind on the wire, quoted or not. */
static int take_scalar_integer(Input *in, int kind, uint64_t *raw)
{
    uint64_t magnitude;
    int is_negative, is_quoted = *in->at == '"';
    if (is_quoted)
        in->at++;
    TRY(take_integer(in, &magnitude, &is_negative));
    if (is_quoted) {
        if (in->at == in->end || *in->at++ != '"')
            return NOT_PLAIN;
    } else if (!ends_number(in)) {
        return NOT_PLAIN;
    }
    uint64_t most = 0, least = 0;
    switch (kind) {
    case INT64: case SINT64: case SFIXED64: most = INT64_MAX; least = most + 1; break;
    case UINT64: case FIXED64: most = UINT64_MAX; break;
    case INT32: case SINT32: case SFIXED32: most = INT32_MAX; least = most + 1; break;
    case UINT32: case FIXED32: most = UINT32_MAX; break;
    default: return NOT_PLAIN;
    }
    if (magnitude > (is_negative ? least : most))
        return NOT_PLAIN;
    uint64_t value = is_negative ? -magnitude : magnitude;
    if (kind == SINT32 || kind == SINT64)
        value = value << 1 ^ -(value >> 63);
    *raw = value;
    return DONE;
}

/* A number by the grammar of RFC 8259 6; quoted ones are the codec's. */
static int take_double(Input *in, double *value)
{
    char text[48];
    size_t size = 0;
    int has_digit = 0;
    const uint8_t *at = in->at;
    if (at < in->end && *at == '-')
        at++;
    const uint8_t *whole = at;
    while (at < in->end && *at >= '0' && *at <= '9')
        has_digit |= *at++ != '0';
    if (at == whole || (*whole == '0' && at - whole > 1))
        return NOT_PLAIN;
    if (at < in->end && *at == '.') {
        const uint8_t *point = ++at;
        while (at < in->end && *at >= '0' && *at <= '9')
            has_digit |= *at++ != '0';
        if (at == point)
            return NOT_PLAIN;
    }
    if (at < in->end && (*at | 0x20) == 'e') {
        at++;
        if (at < in->end && (*at == '+' || *at == '-'))
            at++;
        const uint8_t *power = at;
        while (at < in->end && *at >= '0' && *at <= '9')
            at++;
        if (at == power)
            return NOT_PLAIN;
    }
    size = (size_t)(at - in->at);
    if (size >= sizeof text)
        return NOT_PLAIN;
    memcpy(text, in->at, size);
    text[size] = 0;
    *value = PyOS_string_to_double(text, NULL, NULL);
    if (*value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return NOT_PLAIN;
    }
    /* Overflow, underflow and -0 have rules of their own. */
    if (!isfinite(*value) || (*value == 0 && (has_digit || *text == '-')))
        return NOT_PLAIN;
    in->at = at;
    return ends_number(in) ? DONE : NOT_PLAIN;
}

static int take_enum(Input *in, const Field *field, uint64_t *raw)
{
    Text text;
    TRY(take_text(in, &text));
    Py_ssize_t low = 0, high = field->known_count;
    while (low < high) {
        Py_ssize_t middle = (low + high) / 2;
        const Name *name = &field->known[middle];
        int order = name->text.size == text.size
            ? memcmp(name->text.octets, text.octets, (size_t)text.size)
            : name->text.size < text.size ? -1 : 1;
        if (!order) {
            *raw = (uint64_t)(int64_t)name->number;
            return DONE;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NOT_PLAIN;
}

/* A value that is no string, octets or message, as the octets it has on the wire. */
static int take_scalar(Input *in, const Field *field, uint64_t *raw)
{
    double value;
    pass_space(in);
    if (in->at == in->end)
        return NOT_PLAIN;
    switch (field->kind) {
    case BOOL:
        *raw = *in->at == 't';
        return take_word(in, *raw ? "true" : "false");
    case ENUM:
        return take_enum(in, field, raw);
    case DOUBLE:
        TRY(take_double(in, &value));
        memcpy(raw, &value, 8);
        return DONE;
    case FLOAT: {
        TRY(take_double(in, &value));
        if (fabs(value) > FLT_MAX || (value != 0 && fabs(value) < FLT_MIN))
            return NOT_PLAIN;
        float narrow = (float)value;
        uint32_t half;
        memcpy(&half, &narrow, 4);
        *raw = half;
        return DONE;
    }
    default:
        return take_scalar_integer(in, field->kind, raw);
    }
}

static int put_scalar(Buffer *out, int kind, uint64_t raw)
{
    switch (WIRE_TYPE[kind]) {
    case 0: return put_varint(out, raw);
    case 1: return put_fixed(out, raw, 8);
    default: return put_fixed(out, raw, 4);
    }
}

static int read_message(Buffer *, const Plan *, int, Input *, int);

/* One value without its tag. */
static int read_value(Buffer *out, const Plan *plan, const Field *field, Input *in, int depth)
{
    uint64_t raw;
    size_t start;
    switch (field->kind) {
    case STRING: return read_string(out, in);
    case BYTES: return read_bytes(out, in);
    case MESSAGE:
        TRY(begin_part(out, &start));
        TRY(read_message(out, plan, field->sub, in, depth + 1));
        return end_part(out, start);
    default:
        TRY(take_scalar(in, field, &raw));
        return put_scalar(out, field->kind, raw);
    }
}

static int read_list(Buffer *out, const Plan *plan, const Field *field, Input *in, int depth)
{
    int is_packed = WIRE_TYPE[field->kind] != 2;
    size_t start = 0;
    TRY(take(in, '['));
    if (next_is(in, ']')) {
        in->at++;
        return DONE;
    }
    if (is_packed) {
        TRY(put_tag(out, field->number, 2));
        TRY(begin_part(out, &start));
    }
    for (;;) {
        if (!is_packed)
            TRY(put_tag(out, field->number, 2));
        TRY(read_value(out, plan, field, in, depth));
        if (!next_is(in, ','))
            break;
        in->at++;
    }
    if (is_packed)
        TRY(end_part(out, start));
    return take(in, ']');
}

/* The key of a map, which stands in quotes whatever its kind. */
static int read_key(Buffer *out, const Field *field, const Text *text)
{
    Input in = {(const uint8_t *)text->octets, (const uint8_t *)text->octets + text->size};
    uint64_t raw;
    TRY(put_tag(out, 1, WIRE_TYPE[field->kind]));
    if (field->kind == STRING) {
        TRY(put_varint(out, (uint64_t)text->size));
        return put(out, text->octets, (size_t)text->size);
    }
    if (field->kind == BOOL) {
        raw = text->size == 4;
        TRY(take_word(&in, raw ? "true" : "false"));
        if (in.at != in.end)
            return NOT_PLAIN;
    } else {
        /* With its quotes, which stand around it. */
        in.at--;
        in.end++;
        TRY(take_scalar_integer(&in, field->kind, &raw));
    }
    return put_scalar(out, field->kind, raw);
}

static int read_map(Buffer *out, const Plan *plan, const Field *field, Input *in, int depth)
{
    const Type *entry = &plan->types[field->sub];
    Text keys[MOST_KEYS];
    size_t start;
    TRY(take(in, '{'));
    if (next_is(in, '}')) {
        in->at++;
        return DONE;
    }
    for (int count = 0; count < MOST_KEYS; count++) {
        TRY(take_text(in, &keys[count]));
        for (int i = 0; i < count; i++)
            if (keys[i].size == keys[count].size
                && !memcmp(keys[i].octets, keys[count].octets, (size_t)keys[i].size))
                return NOT_PLAIN;
        TRY(take(in, ':'));
        TRY(put_tag(out, field->number, 2));
        TRY(begin_part(out, &start));
        TRY(read_key(out, &entry->fields[0], &keys[count]));
        TRY(put_tag(out, 2, WIRE_TYPE[entry->fields[1].kind]));
        TRY(read_value(out, plan, &entry->fields[1], in, depth));
        TRY(end_part(out, start));
        if (!next_is(in, ','))
            return take(in, '}');
        in->at++;
    }
    return NOT_PLAIN;
}

static int put_moment(Buffer *out, int64_t seconds, int64_t nanos)
{
    if (seconds) {
        TRY(put_char(out, 0x08));
        TRY(put_varint(out, (uint64_t)seconds));
    }
    if (nanos) {
        TRY(put_char(out, 0x10));
        TRY(put_varint(out, (uint64_t)nanos));
    }
    return DONE;
}

/* So many digits, or -1. */
static int64_t take_digits(const char **at, const char *end, int places)
{
    int64_t value = 0;
    if (end - *at < places)
        return -1;
    for (int i = 0; i < places; i++) {
        char one = *(*at)++;
        if (one < '0' || one > '9')
            return -1;
        value = value * 10 + (one - '0');
    }
    return value;
}

/* A point and 1 to 9 digits as nanoseconds; 0 without a point, -1 if it is none. */
static int64_t take_fraction(const char **at, const char *end)
{
    if (*at == end || **at != '.')
        return 0;
    int64_t nanos = 0;
    int places = 0;
    for ((*at)++; *at < end && **at >= '0' && **at <= '9'; (*at)++, places++)
        if (places < 9)
            nanos = nanos * 10 + (**at - '0');
    if (!places || places > 9)
        return -1;
    for (; places < 9; places++)
        nanos *= 10;
    return nanos;
}

/* RFC 3339 in UTC, written with Z. */
static int read_timestamp(Buffer *out, Input *in)
{
    static const int8_t DAYS[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static const char MARKS[6] = {'-', '-', 'T', ':', ':', 0};
    Text text;
    int64_t part[6];
    TRY(take_text(in, &text));
    const char *at = text.octets, *end = at + text.size;
    for (int i = 0; i < 6; i++) {
        part[i] = take_digits(&at, end, i ? 2 : 4);
        if (part[i] < 0 || (MARKS[i] && (at == end || *at++ != MARKS[i])))
            return NOT_PLAIN;
    }
    int64_t nanos = take_fraction(&at, end);
    int64_t year = part[0], month = part[1], day = part[2];
    if (nanos < 0 || end - at != 1 || *at != 'Z' || year < 1 || month < 1 || month > 12 || day < 1
        || part[3] > 23 || part[4] > 59 || part[5] > 59)
        return NOT_PLAIN;
    int is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > DAYS[month - 1] + (month == 2 && is_leap))
        return NOT_PLAIN;
    /* Days since 0000-03-01, then since 1970-01-01. */
    year -= month <= 2;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t days = year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719468;
    return put_moment(out, days * 86400 + part[3] * 3600 + part[4] * 60 + part[5], nanos);
}

static int read_duration(Buffer *out, Input *in)
{
    Text text;
    TRY(take_text(in, &text));
    const char *at = text.octets, *end = at + text.size;
    int is_negative = at < end && *at == '-';
    at += is_negative;
    const char *start = at;
    int64_t seconds = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (at - start >= 12)
            return NOT_PLAIN;
        seconds = seconds * 10 + (*at - '0');
    }
    /* Zeros in front and the last second are the codec's to judge. */
    if (at == start || (*start == '0' && at - start > 1) || seconds >= MAX_DURATION)
        return NOT_PLAIN;
    int64_t nanos = take_fraction(&at, end);
    if (nanos < 0 || end - at != 1 || *at != 's')
        return NOT_PLAIN;
    return is_negative ? put_moment(out, -seconds, -nanos) : put_moment(out, seconds, nanos);
}

/* A value with its tag; a default of a field without presence is left out, as on every wire. */
static int read_singular(Buffer *out, const Plan *plan, const Field *field, Input *in, int depth)
{
    size_t before = out->size;
    uint64_t raw;
    TRY(put_tag(out, field->number, WIRE_TYPE[field->kind]));
    if (WIRE_TYPE[field->kind] == 2) {
        size_t start = out->size;
        TRY(read_value(out, plan, field, in, depth));
        if (field->kind != MESSAGE && !(field->flags & PRESENCE) && out->size == start + 1)
            /* An empty one is its length alone. */
            out->size = before;
        return DONE;
    }
    TRY(take_scalar(in, field, &raw));
    if (!raw && !(field->flags & PRESENCE)) {
        out->size = before;
        return DONE;
    }
    return put_scalar(out, field->kind, raw);
}

static inline uint32_t hash(const char *octets, Py_ssize_t size)
{
    /* FNV-1a. The names of a type are its author's, so that nobody chooses them to collide. */
    uint32_t found = 2166136261u;
    for (Py_ssize_t i = 0; i < size; i++)
        found = (found ^ (uint8_t)octets[i]) * 16777619u;
    return found;
}

static int field_of(const Type *type, const Text *name)
{
    for (uint32_t at = hash(name->octets, name->size);; at++) {
        const Slot *slot = &type->slots[at & type->mask];
        if (!slot->name.octets)
            return -1;
        if (slot->name.size == name->size && !memcmp(slot->name.octets, name->octets, (size_t)name->size))
            return slot->field;
    }
}

static int read_member(
    Buffer *out, const Plan *plan, const Type *type, Input *in, int depth, uint64_t *seen,
    uint64_t *oneofs)
{
    Text name;
    TRY(take_text(in, &name));
    TRY(take(in, ':'));
    int index = field_of(type, &name);
    if (index < 0)
        return NOT_PLAIN;
    const Field *field = &type->fields[index];
    uint64_t bit = UINT64_C(1) << (index & 63);
    if (field->flags & FOREIGN || seen[index >> 6] & bit)
        return NOT_PLAIN;
    seen[index >> 6] |= bit;
    if (next_is(in, 'n'))
        return take_word(in, "null");
    if (field->oneof) {
        bit = UINT64_C(1) << (field->oneof - 1);
        if (*oneofs & bit)
            return NOT_PLAIN;
        *oneofs |= bit;
    }
    if (field->flags & MAP)
        return read_map(out, plan, field, in, depth);
    if (field->flags & REPEATED)
        return read_list(out, plan, field, in, depth);
    return read_singular(out, plan, field, in, depth);
}

static int read_message(Buffer *out, const Plan *plan, int index, Input *in, int depth)
{
    const Type *type = &plan->types[index];
    uint64_t seen[MOST_FIELDS / 64] = {0}, oneofs = 0;
    if (depth > MOST_DEPTH)
        return NOT_PLAIN;
    switch (type->form) {
    case TIMESTAMP: return read_timestamp(out, in);
    case DURATION: return read_duration(out, in);
    case WRAPPER: return read_singular(out, plan, &type->fields[0], in, depth);
    default: break;
    }
    TRY(take(in, '{'));
    if (next_is(in, '}')) {
        in->at++;
        return DONE;
    }
    for (;;) {
        TRY(read_member(out, plan, type, in, depth, seen, &oneofs));
        if (!next_is(in, ','))
            return take(in, '}');
        in->at++;
    }
}

/* The Plan object */

static int text_of(PyObject *object, Text *text)
{
    char *octets;
    if (PyBytes_AsStringAndSize(object, &octets, &text->size))
        return -1;
    text->octets = octets;
    return 0;
}

static Name *names_of(PyObject *tuple, Py_ssize_t *count)
{
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "names are a tuple");
        return NULL;
    }
    *count = PyTuple_GET_SIZE(tuple);
    Name *names = PyMem_Calloc((size_t)*count + 1, sizeof(Name));
    if (!names) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < *count; i++) {
        PyObject *text;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(tuple, i), "iO", &names[i].number, &text)
            || text_of(text, &names[i].text)) {
            PyMem_Free(names);
            return NULL;
        }
    }
    return names;
}

static int fill_field(Field *field, PyObject *given, int type_count)
{
    PyObject *key, *zero, *shown, *known, *names;
    if (!PyArg_ParseTuple(
            given, "IbbbiOOOOO", &field->number, &field->kind, &field->flags, &field->oneof,
            &field->sub, &key, &zero, &shown, &known, &names)
        || text_of(key, &field->key) || text_of(zero, &field->zero))
        return -1;
    int has_sub = field->kind == MESSAGE || field->flags & MAP;
    if (field->kind < DOUBLE || field->kind > SINT64 || field->oneof > 64 || field->number > MOST_NUMBER
        || (!(field->flags & FOREIGN)
            && (field->kind == GROUP || (has_sub && (field->sub < 0 || field->sub >= type_count))))) {
        PyErr_SetString(PyExc_ValueError, "a field that no plan can have");
        return -1;
    }
    field->shown = names_of(shown, &field->shown_count);
    field->known = field->shown ? names_of(known, &field->known_count) : NULL;
    return field->known ? 0 : -1;
}

static int fill_slots(Type *type, PyObject *fields)
{
    Py_ssize_t total = 0;
    for (int i = 0; i < type->count; i++) {
        PyObject *names = PyTuple_GET_ITEM(PyTuple_GET_ITEM(fields, i), 9);
        if (!PyTuple_Check(names)) {
            PyErr_SetString(PyExc_TypeError, "names are a tuple");
            return -1;
        }
        total += PyTuple_GET_SIZE(names);
    }
    uint32_t size = 4;
    while (size < 2 * (size_t)total)
        size *= 2;
    type->mask = size - 1;
    type->slots = PyMem_Calloc(size, sizeof(Slot));
    if (!type->slots) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = 0; i < type->count; i++) {
        PyObject *names = PyTuple_GET_ITEM(PyTuple_GET_ITEM(fields, i), 9);
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(names); k++) {
            Text name;
            if (text_of(PyTuple_GET_ITEM(names, k), &name))
                return -1;
            uint32_t at = hash(name.octets, name.size);
            while (type->slots[at & type->mask].name.octets)
                at++;
            type->slots[at & type->mask] = (Slot){name, i};
        }
    }
    return 0;
}

static int fill_type(Type *type, PyObject *given, int type_count)
{
    PyObject *fields;
    if (!PyArg_ParseTuple(given, "iO!", &type->form, &PyTuple_Type, &fields))
        return -1;
    Py_ssize_t count = PyTuple_GET_SIZE(fields);
    if (count > MOST_FIELDS || type->form < OBJECT || type->form > WRAPPER
        || (type->form == WRAPPER && count != 1)) {
        PyErr_SetString(PyExc_ValueError, "a type that no plan can have");
        return -1;
    }
    type->fields = PyMem_Calloc((size_t)count + 1, sizeof(Field));
    if (!type->fields) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        type->count = (int)i + 1;
        if (fill_field(&type->fields[i], PyTuple_GET_ITEM(fields, i), type_count))
            return -1;
        if ((int)type->fields[i].number > type->highest)
            type->highest = (int)type->fields[i].number;
    }
    type->by_number = PyMem_Malloc(((size_t)type->highest + 1) * sizeof(int16_t));
    if (!type->by_number) {
        PyErr_NoMemory();
        return -1;
    }
    if (type->form == WRAPPER
        && (type->fields[0].kind == MESSAGE || type->fields[0].kind == GROUP
            || type->fields[0].flags & (REPEATED | MAP | FOREIGN) || type->fields[0].number != 1)) {
        PyErr_SetString(PyExc_ValueError, "a wrapper of no scalar");
        return -1;
    }
    memset(type->by_number, 0xFF, ((size_t)type->highest + 1) * sizeof(int16_t));
    for (int i = 0; i < type->count; i++)
        type->by_number[type->fields[i].number] = (int16_t)i;
    return fill_slots(type, fields);
}

static void plan_dealloc(Plan *plan)
{
    PyTypeObject *self = Py_TYPE(plan);
    for (int i = 0; i < plan->count; i++) {
        Type *type = &plan->types[i];
        for (int k = 0; k < type->count; k++) {
            PyMem_Free(type->fields[k].shown);
            PyMem_Free(type->fields[k].known);
        }
        PyMem_Free(type->fields);
        PyMem_Free(type->by_number);
        PyMem_Free(type->slots);
    }
    PyMem_Free(plan->types);
    Py_XDECREF(plan->source);
    PyObject_Free(plan);
    Py_DECREF(self);
}

/* A map's entries have a plain key and a value; nothing else is asked when they are read. */
static int is_entry(const Type *type)
{
    if (type->form != OBJECT || type->count != 2)
        return 0;
    for (int i = 0; i < 2; i++)
        if (type->fields[i].flags & (REPEATED | MAP | FOREIGN) || type->fields[i].number != (uint32_t)i + 1)
            return 0;
    int kind = type->fields[0].kind;
    return kind != MESSAGE && kind != BYTES && kind != ENUM && kind != DOUBLE && kind != FLOAT;
}

static int check_maps(const Plan *plan)
{
    for (int i = 0; i < plan->count; i++)
        for (int k = 0; k < plan->types[i].count; k++) {
            const Field *field = &plan->types[i].fields[k];
            if (field->flags & MAP && !(field->flags & FOREIGN) && !is_entry(&plan->types[field->sub])) {
                PyErr_SetString(PyExc_ValueError, "a map without key and value");
                return -1;
            }
        }
    return 0;
}

static PyObject *plan_new(PyTypeObject *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"types", "long_numbers", NULL};
    PyObject *types;
    int long_numbers = 0;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "O!|p", keywords, &PyTuple_Type, &types, &long_numbers))
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(types);
    if (count < 1 || count > 10000) {
        PyErr_SetString(PyExc_ValueError, "a plan of no types, or of too many");
        return NULL;
    }
    Plan *plan = (Plan *)self->tp_alloc(self, 0);
    if (!plan)
        return NULL;
    plan->source = Py_NewRef(types);
    plan->long_numbers = long_numbers;
    plan->types = PyMem_Calloc((size_t)count, sizeof(Type));
    if (!plan->types) {
        Py_DECREF(plan);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        plan->count = (int)i + 1;
        if (fill_type(&plan->types[i], PyTuple_GET_ITEM(types, i), (int)count)) {
            Py_DECREF(plan);
            return NULL;
        }
    }
    if (check_maps(plan)) {
        Py_DECREF(plan);
        return NULL;
    }
    return (PyObject *)plan;
}

/* What was made as bytes, None where it is not plain; gives the buffer back. */
static PyObject *result_of(int result, Buffer *out)
{
    PyObject *made = NULL;
    if (result == DONE)
        made = PyBytes_FromStringAndSize(out->data, (Py_ssize_t)out->size);
    else if (result == NOT_PLAIN)
        made = Py_NewRef(Py_None);
    else if (!PyErr_Occurred())
        PyErr_NoMemory();
    PyMem_Free(out->data);
    return made;
}

static PyObject *plan_show(Plan *plan, PyObject *given)
{
    Text wire;
    if (text_of(given, &wire))
        return NULL;
    Buffer out = {NULL, 0, 0};
    int result = grow(&out, (size_t)wire.size * 3 + 256);
    if (result == DONE) {
        const uint8_t *at = (const uint8_t *)wire.octets;
        result = show_message(&out, plan, 0, at, at + wire.size, 0);
    }
    return result_of(result, &out);
}

static PyObject *plan_read(Plan *plan, PyObject *given)
{
    Text text;
    if (text_of(given, &text))
        return NULL;
    if (plan->types[0].form != OBJECT)
        Py_RETURN_NONE;
    Buffer out = {NULL, 0, 0};
    int result = grow(&out, (size_t)text.size + 64);
    if (result == DONE) {
        Input in = {(const uint8_t *)text.octets, (const uint8_t *)text.octets + text.size};
        result = read_message(&out, plan, 0, &in, 0);
        pass_space(&in);
        if (result == DONE && in.at != in.end)
            result = NOT_PLAIN;
    }
    return result_of(result, &out);
}

static PyMethodDef plan_methods[] = {
    {"show", (PyCFunction)plan_show, METH_O, "Wire octets to compact JSON, or None: not a plain message."},
    {"read", (PyCFunction)plan_read, METH_O, "JSON to wire octets, or None: not a plain text."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot plan_slots[] = {
    {Py_tp_new, plan_new},
    {Py_tp_dealloc, plan_dealloc},
    {Py_tp_methods, plan_methods},
    {Py_tp_doc, "The fields of a message type and of those below it."},
    {0, NULL},
};

static PyType_Spec plan_spec = {
    "bff.transcoding._plain_json.Plan", sizeof(Plan), 0, Py_TPFLAGS_DEFAULT, plan_slots,
};

static int fill_module(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &plan_spec, NULL);
    if (!type)
        return -1;
    int result = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return result;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT, "_plain_json", "ProtoJSON of plain messages.", 0, NULL, module_slots,
    NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__plain_json(void)
{
    return PyModuleDef_Init(&module_def);
}
