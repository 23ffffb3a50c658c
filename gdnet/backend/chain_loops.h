/* The executor for one element type T; included once a type by chain.c. */

#define UNARY(OP, EXPR) \
    case OP: \
        IVDEP for (Py_ssize_t i = 0; i < n; i++) { T x = a[i]; d[i] = (EXPR); } \
        break;

/* One operand may be a single number; which one is fixed outside the loop, so that each loop has contiguous operands. */
#define BINARY(OP, EXPR) \
    case OP: \
        if (!step_a) { T x = a[0]; IVDEP for (Py_ssize_t i = 0; i < n; i++) { T y = b[i]; d[i] = (EXPR); } } \
        else if (!step_b) { T y = b[0]; IVDEP for (Py_ssize_t i = 0; i < n; i++) { T x = a[i]; d[i] = (EXPR); } } \
        else { IVDEP for (Py_ssize_t i = 0; i < n; i++) { T x = a[i], y = b[i]; d[i] = (EXPR); } } \
        break;

CLONES
static void NAME(const unsigned char *code, Py_ssize_t n_calls, const Place *places, int n_places,
                 Py_ssize_t start, Py_ssize_t stop, Py_ssize_t size)
{
    T rooms[MAX_ROOMS][CHUNK];
    for (Py_ssize_t low = start; low < stop; low += CHUNK) {
        const Py_ssize_t n = stop - low < CHUNK ? stop - low : CHUNK;
        for (Py_ssize_t k = 0; k < n_calls; k++) {
            T *at[3];
            int step[3];
            for (int j = 0; j < 3; j++) {
                const int p = code[4 * k + 1 + j];
                if (p >= n_places) {
                    at[j] = rooms[p - n_places];
                    step[j] = 1;
                } else {
                    step[j] = places[p].step;
                    at[j] = (T *)places[p].start + (step[j] ? low : 0);
                }
            }
            T *const d = at[0];
            const T *const a = at[1], *const b = at[2];
            const int step_a = step[1], step_b = step[2];
            switch (code[4 * k]) {
                BINARY(0, x + y)
                BINARY(1, x - y)
                BINARY(2, x * y)
                BINARY(3, x / y)
                BINARY(4, x >= y || x != x ? x : y) /* a NaN of either side goes on, as in NumPy */
                BINARY(5, x <= y || x != x ? x : y)
                BINARY(6, x > y ? (T)1 : (T)0)
                BINARY(7, x >= y ? (T)1 : (T)0)
                BINARY(8, x < y ? (T)1 : (T)0)
                BINARY(9, x <= y ? (T)1 : (T)0)
                UNARY(10, SQRT(x))
                UNARY(11, -x)
                UNARY(12, ABS(x))
                case SPREAD_ROW: { /* a vector for every row: as often as it fits into the chunk */
                    const Py_ssize_t width = places[code[4 * k + 2]].count;
                    const T *const row = (const T *)places[code[4 * k + 2]].start;
                    for (Py_ssize_t i = 0, j = low % width, m; i < n; i += m, j = 0) {
                        m = width - j < n - i ? width - j : n - i;
                        memcpy(d + i, row + j, (size_t)m * sizeof(T));
                    }
                    break;
                }
                case SPREAD_COLUMN: { /* one number a row */
                    const Py_ssize_t width = size / places[code[4 * k + 2]].count;
                    const T *column = (const T *)places[code[4 * k + 2]].start + low / width;
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

#undef UNARY
#undef BINARY
