/* A chain of elementwise operations in one pass over memory.

   Called operation by operation, NumPy reads and writes whole arrays each time. Here the chain is run on one chunk after
   the other, and what lies between its operations stays in the first-level cache. Each operation is exactly rounded and
   none is contracted into another (-ffp-contract=off), so the results are NumPy's, bit for bit (but for the sign of a zero
   that is the larger or smaller of two zeros, which NumPy's own loops do not agree on).

   run(code, arrays, rooms, start, stop, size) works on elements start..stop of `arrays`, which are all of one type and
   contiguous: arrays of `size` elements, single numbers, or what is spread over rows or columns first. `code` holds five
   bytes an operation: which one, where its result goes, and three operands, of which most take one or two (the last one
   is repeated then). A number below len(arrays) is an array, the others are `rooms` for results that nobody else needs.
*/
#define PY_SSIZE_T_CLEAN
#include <Python.h>
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

enum { /* in the order of numpy_chain._IN_ORDER */
    ADD, SUBTRACT, MULTIPLY, DIVIDE, MAXIMUM, MINIMUM, GREATER, GREATER_EQUAL, LESS, LESS_EQUAL, SQUARE_ROOT, NEGATIVE,
    ABSOLUTE,
    ADD_SCALED,      /* c + a b for a number b */
    SUBTRACT_SCALED, /* c - a b */
    SPREAD_ROW, SPREAD_COLUMN,
    N_OPERATIONS
};

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
#define SQRT sqrtf
#define ABS fabsf
#include "chain_loops.h"
#undef T
#undef NAME
#undef SQRT
#undef ABS
#define T double
#define NAME run_double
#define SQRT sqrt
#define ABS fabs
#include "chain_loops.h"

/* Whether every operation and operand exists, and nothing outside an array would be read or written. */
static int sound(const unsigned char *code, Py_ssize_t code_size, const Place *places, Py_ssize_t n, long rooms,
                 Py_ssize_t size)
{
    for (const unsigned char *c = code; c < code + code_size; c += BYTES) {
        const int spread = c[0] == SPREAD_ROW || c[0] == SPREAD_COLUMN;
        const int scaled = c[0] == ADD_SCALED || c[0] == SUBTRACT_SCALED;
        if (c[0] >= N_OPERATIONS) return 0;
        if (!spread && !scaled && c[2] < n && c[3] < n && !places[c[2]].step && !places[c[3]].step) return 0;
        for (int j = 1; j < BYTES; j++) {
            if (c[j] >= n + rooms) return 0;
            const int is_place = c[j] < n, whole = !is_place || places[c[j]].count == size;
            const int number = is_place && !places[c[j]].step;
            if (j == 1) { /* the result */
                if (!whole || number) return 0;
            } else if (spread) { /* rows or columns that make up the whole */
                if (!is_place || places[c[j]].count < 1 || size % places[c[j]].count) return 0;
            } else if (scaled) { /* a and c are whole, b is a number */
                if (j == 3 ? !number : !whole || number) return 0;
            } else if (!whole && !number) {
                return 0;
            }
        }
    }
    return 1;
}

static PyObject *run(PyObject *self, PyObject *const *args, Py_ssize_t n_args)
{
    if (n_args != 6 || !PyBytes_Check(args[0]) || !PyTuple_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "run(code, arrays, rooms, start, stop, size)");
        return NULL;
    }
    char *bytes;
    Py_ssize_t code_size;
    if (PyBytes_AsStringAndSize(args[0], &bytes, &code_size) < 0) return NULL;
    const unsigned char *code = (const unsigned char *)bytes;
    const Py_ssize_t n = PyTuple_Size(args[1]);
    const long rooms = PyLong_AsLong(args[2]);
    const Py_ssize_t start = PyLong_AsSsize_t(args[3]), stop = PyLong_AsSsize_t(args[4]), size = PyLong_AsSsize_t(args[5]);
    if (PyErr_Occurred()) return NULL;
    if (n < 1 || n > MAX_PLACES || rooms < 0 || rooms > MAX_ROOMS || code_size % BYTES
        || code_size > BYTES * MAX_CALLS || start < 0 || stop > size) {
        PyErr_SetString(PyExc_ValueError, "too many arrays or rooms, or a part that does not exist");
        return NULL;
    }

    char written[MAX_PLACES] = {0};
    for (Py_ssize_t k = 1; k < code_size; k += BYTES)
        if (code[k] < n) written[code[k]] = 1;
    Py_buffer views[MAX_PLACES];
    Place places[MAX_PLACES];
    PyObject *result = NULL;
    char type = 0;
    Py_ssize_t held = 0;
    while (held < n) {
        Py_buffer *v = &views[held];
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (written[held] ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(PyTuple_GetItem(args[1], held), v, flags) < 0) {
            PyErr_SetString(PyExc_BufferError, "an array that is not contiguous, or must not be written");
            goto done;
        }
        const char found = v->format && !v->format[1] ? v->format[0] : 0;
        places[held++] = (Place){v->buf, v->ndim > 0, v->itemsize ? v->len / v->itemsize : 0};
        if (held == 1) type = found;
        if (found != type || (type != 'f' && type != 'd') || (size_t)v->buf % (size_t)v->itemsize) {
            PyErr_SetString(PyExc_BufferError, "arrays that are of different types, or not aligned");
            goto done;
        }
    }
    if (!sound(code, code_size, places, n, rooms, size)) {
        PyErr_SetString(PyExc_ValueError, "an operation or operand that does not exist, or an array of another size");
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    (type == 'f' ? run_float : run_double)(code, code_size / BYTES, places, (int)n, start, stop, size);
    Py_END_ALLOW_THREADS
    Py_INCREF(Py_None);
    result = Py_None;
done:
    while (held > 0) PyBuffer_Release(&views[--held]);
    return result;
}

static PyMethodDef methods[] = {
    {"run", (PyCFunction)(void (*)(void))run, METH_FASTCALL, "run(code, arrays, rooms, start, stop, size): see chain.c"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_chain", "Chains of elementwise operations.", 0, methods};

PyMODINIT_FUNC PyInit__chain(void) { return PyModule_Create(&module); }
