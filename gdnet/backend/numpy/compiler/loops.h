/* The executor for one element type T; included once a type by chain.c. */

/* A loop over the chunk in slices. Before each slice a few lines of the chunk to come are asked for: the processor's own
   prefetching stops between two operations, so that memory would rest while it calculates. */
#define EACH(...) \
    for (Py_ssize_t from = 0; from < n; from += SLICE) { \
        const Py_ssize_t to = from + SLICE < n ? from + SLICE : n; \
        for (int q = 0; q < LINES && line < lines; q++, line++) \
            PREFETCH(ahead[line % n_ahead] + line / n_ahead * LINE); \
        IVDEP for (Py_ssize_t i = from; i < to; i++) { __VA_ARGS__ } \
    }

#define UNARY(OP, EXPR) \
    case OP: EACH(const T x = a[i]; d[i] = (EXPR);) break;

/* One operand may be a single number; which one is fixed outside the loop, so that each loop has contiguous operands. */
#define BINARY(OP, EXPR) \
    case OP: \
        if (!call->step[1]) { const T x = a[0]; EACH(const T y = b[i]; d[i] = (EXPR);) } \
        else if (!call->step[2]) { const T y = b[0]; EACH(const T x = a[i]; d[i] = (EXPR);) } \
        else EACH(const T x = a[i], y = b[i]; d[i] = (EXPR);) \
        break;

CLONES
static void NAME(const unsigned char *code, Py_ssize_t n_calls, const Place *places, int n_places,
                 Py_ssize_t start, Py_ssize_t stop, Py_ssize_t size)
{
    enum { LINE = 64 / sizeof(T) };
    T rooms[MAX_ROOMS][CHUNK];
    struct {
        T *at[4];
        int step[4], moves[4];
    } calls[MAX_CALLS];
    for (Py_ssize_t k = 0; k < n_calls; k++) {
        for (int j = 0; j < 4; j++) {
            const int p = code[BYTES * k + 1 + j], is_room = p >= n_places;
            calls[k].step[j] = is_room || places[p].step;
            calls[k].moves[j] = !is_room && places[p].count == size;
            calls[k].at[j] = is_room ? rooms[p - n_places] : (T *)places[p].start + (calls[k].moves[j] ? start : 0);
        }
    }
    const T *ahead[MAX_PLACES];
    int n_ahead = 0;
    for (int p = 0; p < n_places; p++)
        if (size >= FAR && places[p].count == size) ahead[n_ahead++] = (const T *)places[p].start + start;

    for (Py_ssize_t low = start; low < stop; low += CHUNK) {
        const Py_ssize_t n = stop - low < CHUNK ? stop - low : CHUNK;
        const int lines = stop - low >= 2 * CHUNK ? n_ahead * (CHUNK / LINE) : 0;
        int line = 0;
        for (int p = 0; p < n_ahead; p++) ahead[p] += CHUNK;
        for (Py_ssize_t k = 0; k < n_calls; k++) {
            struct { T *at[4]; int step[4]; } now, *const call = &now;
            for (int j = 0; j < 4; j++) {
                now.at[j] = calls[k].at[j], now.step[j] = calls[k].step[j];
                if (calls[k].moves[j]) calls[k].at[j] += n;
            }
            T *const d = now.at[0];
            const T *const a = now.at[1], *const b = now.at[2], *const c = now.at[3];
            switch (code[BYTES * k]) {
                BINARY(ADD, x + y)
                BINARY(SUBTRACT, x - y)
                BINARY(MULTIPLY, x * y)
                BINARY(DIVIDE, x / y)
                BINARY(MAXIMUM, x >= y || x != x ? x : y) /* a NaN of either side goes on, as in NumPy */
                BINARY(MINIMUM, x <= y || x != x ? x : y)
                BINARY(GREATER, x > y ? (T)1 : (T)0)
                BINARY(GREATER_EQUAL, x >= y ? (T)1 : (T)0)
                BINARY(LESS, x < y ? (T)1 : (T)0)
                BINARY(LESS_EQUAL, x <= y ? (T)1 : (T)0)
                UNARY(SQUARE_ROOT, SQRT(x))
                UNARY(NEGATIVE, -x)
                UNARY(ABSOLUTE, ABS(x))
                case ADD_SCALED: { const T y = b[0]; EACH(const T x = a[i] * y; d[i] = c[i] + x;) break; }
                case SUBTRACT_SCALED: { const T y = b[0]; EACH(const T x = a[i] * y; d[i] = c[i] - x;) break; }
                case SPREAD_ROW: { /* a vector for every row: as often as it fits into the chunk */
                    const Py_ssize_t width = places[code[BYTES * k + 2]].count;
                    const T *const row = (const T *)places[code[BYTES * k + 2]].start;
                    for (Py_ssize_t i = 0, j = low % width, m; i < n; i += m, j = 0) {
                        m = width - j < n - i ? width - j : n - i;
                        memcpy(d + i, row + j, (size_t)m * sizeof(T));
                    }
                    break;
                }
                case SPREAD_COLUMN: { /* one number a row */
                    const Py_ssize_t width = size / places[code[BYTES * k + 2]].count;
                    const T *column = (const T *)places[code[BYTES * k + 2]].start + low / width;
                    for (Py_ssize_t i = 0, j = low % width, m; i < n; i += m, j = 0) {
                        m = width - j < n - i ? width - j : n - i;
                        const T x = *column++;
                        for (Py_ssize_t l = i; l < i + m; l++) d[l] = x;
                    }
                    break;
                }
            }
        }
    }
}

#undef EACH
#undef UNARY
#undef BINARY

/* The chains of whole.h, a function each. Operands X and numbers N are read, results Y written, which may lie where
   an operand lies. */
#define X(J) x[J][i]
#define N(J) number[J]
#define Y(J) y[J][i]
#define WHOLE(K, ARRAYS, NUMBERS, RESULTS, ...) \
    CLONES static void NAME_WHOLE(K)(char *const *at, Py_ssize_t start, Py_ssize_t stop) \
    { \
        const T *x[ARRAYS]; \
        T number[NUMBERS + 1], *y[RESULTS]; \
        for (int j = 0; j < ARRAYS; j++) x[j] = (const T *)at[j]; \
        for (int j = 0; j < NUMBERS; j++) number[j] = *(const T *)at[ARRAYS + j]; \
        for (int j = 0; j < RESULTS; j++) y[j] = (T *)at[ARRAYS + NUMBERS + j]; \
        IVDEP for (Py_ssize_t i = start; i < stop; i++) { __VA_ARGS__ } \
    }
#include "whole.h"
#undef WHOLE
#undef X
#undef N
#undef Y
