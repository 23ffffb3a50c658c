/* A chain of elementwise operations in one pass over memory.

   Called operation by operation, NumPy reads and writes whole arrays each time. Here the chain is run on one chunk after
   the other, and what lies between its operations stays in the first-level cache. Each operation is exactly rounded and
   none is contracted into another (-ffp-contract=off), so the results are NumPy's, bit for bit (but for the sign of a zero
   that is the larger or smaller of two zeros, which NumPy's own loops do not agree on).

   run(code, rooms, arrays, start, stop, size) works on elements start..stop of `arrays`, which are all of one type and
   contiguous: arrays of `size` elements, single numbers, or what is spread over rows or columns first. `code` holds five
   bytes an operation: which one, where its result goes, and three operands, of which most take one or two (the last one
   is repeated then). A number below len(arrays) is an array, the others are `rooms` for results that nobody else needs.

   run_whole(index, order, arrays, start, stop, size) does the same for the chains that stand in whole.h, each of
   which is one compiled loop: nothing goes through the cache between its operations. `order` says which of the arrays
   are its operands, numbers and results; WHOLE holds the formulas by which it is found.
*/
#define PY_SSIZE_T_CLEAN
#include <Python.h> /* the limited API where Py_LIMITED_API is defined, else the whole, as free-threaded builds need */
#include <math.h>
#include <string.h>

#define BYTES 5
#define CHUNK 1024 /* elements that go through the whole chain before the next ones: some arrays of them fit the cache */
#define FAR ((Py_ssize_t)1 << 22) /* elements from which on arrays come from memory and not from a cache */
#define SLICE 256  /* elements between two requests for what comes next */
#define LINES 10   /* cache lines asked for at a time: four arrays' next chunk within a chain of seven calls */
#define MAX_PLACES 64
#define MAX_ROOMS 8
#define MAX_CALLS 64

enum { /* in the order of chain._IN_ORDER */
    ADD, SUBTRACT, MULTIPLY, DIVIDE, MAXIMUM, MINIMUM, GREATER, GREATER_EQUAL, LESS, LESS_EQUAL, SQUARE_ROOT, NEGATIVE,
    ABSOLUTE,
    ADD_SCALED,      /* c + a b for a number b */
    SUBTRACT_SCALED, /* c - a b */
    SPREAD_ROW, SPREAD_COLUMN,
    N_OPERATIONS
};

#ifdef _MSC_VER
#pragma fp_contract(off) /* as -ffp-contract=off says to the others */
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define IVDEP _Pragma("GCC ivdep") /* a result may lie where an operand lies, at the same index */
#elif defined(__clang__)
#define IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define IVDEP
#endif

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch((address), 0, 3)
#else
#define PREFETCH(address) ((void)0)
#endif

#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"))) /* chosen when loaded */
#else
#define CLONES
#endif

typedef struct {
    char *start;
    int step; /* 0: a single number */
    Py_ssize_t count;
} Place;

#define T float
#define NAME run_float
#define NAME_WHOLE(K) whole_float_##K
#define SQRT sqrtf
#define ABS fabsf
#include "loops.h"
#undef T
#undef NAME
#undef NAME_WHOLE
#undef SQRT
#undef ABS
#define T double
#define NAME run_double
#define NAME_WHOLE(K) whole_double_##K
#define SQRT sqrt
#define ABS fabs
#include "loops.h"

typedef void Loop(char *const *at, Py_ssize_t start, Py_ssize_t stop);

static const struct {
    const char *formula;
    int arrays, numbers, results;
    Loop *of_float, *of_double;
} loops[] = {
#define WHOLE(K, ARRAYS, NUMBERS, RESULTS, ...) {#__VA_ARGS__, ARRAYS, NUMBERS, RESULTS, whole_float_##K, whole_double_##K},
#include "whole.h"
#undef WHOLE
};
enum { N_LOOPS = sizeof loops / sizeof *loops };

/* How many operands an operation takes. */
static int operands_of(unsigned char operation)
{
    switch (operation) {
    case SQUARE_ROOT: case NEGATIVE: case ABSOLUTE: case SPREAD_ROW: case SPREAD_COLUMN: return 1;
    case ADD_SCALED: case SUBTRACT_SCALED: return 3;
    default: return 2;
    }
}

/* Whether every operation and operand exists, and nothing outside an array would be read or written. */
static int sound(const unsigned char *code, Py_ssize_t code_size, const Place *places, Py_ssize_t n, long rooms,
                 Py_ssize_t size)
{
    int has_size = 0; /* some array has; without one, results that go to rooms alone would have any size */
    for (Py_ssize_t k = 0; k < n; k++) has_size |= places[k].step && places[k].count == size;
    if (!has_size) return 0;
    unsigned filled = 0; /* bit r: room r has been written */
    for (const unsigned char *c = code; c < code + code_size; c += BYTES) {
        const int spread = c[0] == SPREAD_ROW || c[0] == SPREAD_COLUMN;
        const int scaled = c[0] == ADD_SCALED || c[0] == SUBTRACT_SCALED;
        if (c[0] >= N_OPERATIONS) return 0;
        for (int j = 2 + operands_of(c[0]); j < BYTES; j++)
            if (c[j] != c[j - 1]) return 0; /* the last operand is repeated */
        if (!spread && !scaled && c[2] < n && c[3] < n && !places[c[2]].step && !places[c[3]].step) return 0;
        for (int j = 1; j < BYTES; j++) {
            if (c[j] >= n + rooms) return 0;
            const int is_place = c[j] < n, whole = !is_place || places[c[j]].count == size;
            const int number = is_place && !places[c[j]].step;
            if (j == 1) { /* the result */
                if (!whole || number) return 0;
            } else if (!is_place && !(filled >> (c[j] - n) & 1)) { /* a room that nothing has been put into */
                return 0;
            } else if (spread) { /* rows or columns that make up the whole */
                if (!is_place || places[c[j]].count < 1 || size % places[c[j]].count) return 0;
            } else if (scaled) { /* a and c are whole, b is a number */
                if (j == 3 ? !number : !whole || number) return 0;
            } else if (!whole && !number) {
                return 0;
            }
        }
        if (c[1] >= n) filled |= 1u << (c[1] - n);
    }
    return 1;
}

typedef struct {
    Py_buffer views[MAX_PLACES];
    Place places[MAX_PLACES];
    Py_ssize_t n;
    char type; /* 'f' or 'd', one for all */
} Held;

static void release(Held *held)
{
    while (held->n > 0) PyBuffer_Release(&held->views[--held->n]);
}

/* Whether an array that is written overlaps another one in part; at the same place they may lie, element by element. */
static int overlap(const Held *held, const char *written)
{
    for (Py_ssize_t j = 0; j < held->n; j++) {
        const char *const start = held->views[j].buf, *const end = start + held->views[j].len;
        for (Py_ssize_t k = 0; written[j] && held->places[j].step && k < held->n; k++) {
            const char *const other = held->views[k].buf, *const its_end = other + held->views[k].len;
            const int same = start == other && end == its_end && held->places[k].step;
            if (k != j && !same && start < its_end && other < end) return 1;
        }
    }
    return 0;
}

/* Take hold of the memory of the arrays, which must be of one type and contiguous; of those that are written, to write. */
static int hold(Held *held, PyObject *arrays, const char *written)
{
    const Py_ssize_t n = PyTuple_Size(arrays);
    for (held->n = 0; held->n < n;) {
        Py_buffer *v = &held->views[held->n];
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (written[held->n] ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(PyTuple_GetItem(arrays, held->n), v, flags) < 0) {
            PyErr_SetString(PyExc_BufferError, "an array that is not contiguous, or must not be written");
            release(held);
            return 0;
        }
        const char type = v->format && !v->format[1] ? v->format[0] : 0;
        held->places[held->n++] = (Place){v->buf, v->ndim > 0, v->itemsize ? v->len / v->itemsize : 0};
        if (held->n == 1) held->type = type;
        if (type != held->type || (type != 'f' && type != 'd') || (size_t)v->buf % (size_t)v->itemsize) {
            PyErr_SetString(PyExc_BufferError, "arrays that are of different types, or not aligned");
            release(held);
            return 0;
        }
    }
    if (overlap(held, written)) {
        PyErr_SetString(PyExc_BufferError, "a result that overlaps another array in part");
        release(held);
        return 0;
    }
    return 1;
}

static PyObject *refuse(const char *why)
{
    PyErr_SetString(PyExc_ValueError, why);
    return NULL;
}

static PyObject *run(PyObject *self, PyObject *const *args, Py_ssize_t n_args)
{
    if (n_args != 6 || !PyBytes_Check(args[0]) || !PyTuple_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "run(code, rooms, arrays, start, stop, size)");
        return NULL;
    }
    char *bytes;
    Py_ssize_t code_size;
    if (PyBytes_AsStringAndSize(args[0], &bytes, &code_size) < 0) return NULL;
    const unsigned char *code = (const unsigned char *)bytes;
    const Py_ssize_t n = PyTuple_Size(args[2]);
    const long rooms = PyLong_AsLong(args[1]);
    const Py_ssize_t start = PyLong_AsSsize_t(args[3]), stop = PyLong_AsSsize_t(args[4]), size = PyLong_AsSsize_t(args[5]);
    if (PyErr_Occurred()) return NULL;
    if (n < 1 || n > MAX_PLACES || rooms < 0 || rooms > MAX_ROOMS || code_size % BYTES
        || code_size > BYTES * MAX_CALLS || start < 0 || stop > size)
        return refuse("too many arrays or rooms, or a part that does not exist");

    char written[MAX_PLACES] = {0};
    for (Py_ssize_t k = 1; k < code_size; k += BYTES)
        if (code[k] < n) written[code[k]] = 1;
    Held held;
    if (!hold(&held, args[2], written)) return NULL;
    if (!sound(code, code_size, held.places, n, rooms, size)) {
        release(&held);
        return refuse("an operation or operand that does not exist, or an array of another size");
    }
    Py_BEGIN_ALLOW_THREADS
    (held.type == 'f' ? run_float : run_double)(code, code_size / BYTES, held.places, (int)n, start, stop, size);
    Py_END_ALLOW_THREADS
    release(&held);
    Py_RETURN_NONE;
}

static PyObject *run_whole(PyObject *self, PyObject *const *args, Py_ssize_t n_args)
{
    if (n_args != 6 || !PyBytes_Check(args[1]) || !PyTuple_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "run_whole(index, order, arrays, start, stop, size)");
        return NULL;
    }
    char *bytes;
    Py_ssize_t operands;
    if (PyBytes_AsStringAndSize(args[1], &bytes, &operands) < 0) return NULL;
    const unsigned char *order = (const unsigned char *)bytes;
    const Py_ssize_t n = PyTuple_Size(args[2]), index = PyLong_AsSsize_t(args[0]);
    const Py_ssize_t start = PyLong_AsSsize_t(args[3]), stop = PyLong_AsSsize_t(args[4]), size = PyLong_AsSsize_t(args[5]);
    if (PyErr_Occurred()) return NULL;
    if (index < 0 || index >= N_LOOPS || n < 1 || n > MAX_PLACES || start < 0 || stop > size)
        return refuse("a chain or a part that does not exist, or too many arrays");
    const int arrays = loops[index].arrays, results = arrays + loops[index].numbers;
    if (operands != results + loops[index].results || operands > MAX_PLACES)
        return refuse("another number of operands");

    char written[MAX_PLACES] = {0};
    for (Py_ssize_t j = 0; j < operands; j++) {
        if (order[j] >= n) return refuse("an operand that does not exist");
        if (j >= results) written[order[j]] = 1;
    }
    Held held;
    if (!hold(&held, args[2], written)) return NULL;
    char *at[MAX_PLACES];
    for (Py_ssize_t j = 0; j < operands; j++) {
        const Place *place = &held.places[order[j]];
        const int number = j >= arrays && j < results;
        if (number ? place->step || place->count != 1 : !place->step || place->count != size) {
            release(&held);
            return refuse("an array of another size, or a number in its place");
        }
        at[j] = place->start;
    }
    Py_BEGIN_ALLOW_THREADS
    (held.type == 'f' ? loops[index].of_float : loops[index].of_double)(at, start, stop);
    Py_END_ALLOW_THREADS
    release(&held);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL, "run(code, rooms, arrays, start, stop, size): see chain.c"},
    {"run_whole", (PyCFunction)(void (*)(void))run_whole, METH_FASTCALL,
     "run_whole(index, order, arrays, start, stop, size): see chain.c"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_chain", "Chains of elementwise operations.", 0, methods};

PyMODINIT_FUNC PyInit__chain(void)
{
    PyObject *m = PyModule_Create(&module), *formulas = PyTuple_New(N_LOOPS);
#ifdef Py_GIL_DISABLED /* nothing here changes but what the caller hands over, which its buffers hold */
    if (m) PyUnstable_Module_SetGIL(m, Py_MOD_GIL_NOT_USED);
#endif
    int made = m && formulas;
    for (Py_ssize_t k = 0; made && k < N_LOOPS; k++) {
        PyObject *formula = PyUnicode_FromString(loops[k].formula);
        made = formula && PyTuple_SetItem(formulas, k, formula) == 0;
    }
    made = made && PyModule_AddObjectRef(m, "WHOLE", formulas) == 0;
    Py_XDECREF(formulas);
    if (made) return m;
    Py_XDECREF(m);
    return NULL;
}
