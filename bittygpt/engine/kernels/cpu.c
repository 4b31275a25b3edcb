/* Kernels of our own for a CPU: one pass over memory where a list of tensor operations takes many.

   Each computes a formula of core/, named beside it, and is tested against that. Tensors lie dense, row after
   row. `number` is the precision of matrix products: c_compiler.py compiles this file once for each, for the machine
   at hand. Arithmetic is in float; rows are shared out to PyTorch's own threads, always in the same way.

   No -ffast-math: a NaN must come out as one, or no diverged run would be noticed. */

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#ifdef BFLOAT16
typedef uint16_t number; /* the upper half of a float */

static inline float as_float(number x) {
    uint32_t bits = (uint32_t)x << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

static inline number rounded(float x) { /* to the nearest, of two as near to the even one */
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return x == x ? nearest : 0x7fc0; /* NaN */
}
#else
typedef float number;
static inline float as_float(number x) { return x; }
static inline number rounded(float x) { return x; }
#endif

/* Below this many numbers a second thread takes longer to wake than it saves: as in PyTorch. */
#define WORTH_THREADS(n) ((n) > 32768)

static int64_t sum(int64_t count, const int64_t *sizes) {
    int64_t total = 0;
    for (int64_t t = 0; t < count; t++) total += sizes[t];
    return total;
}

/* How many threads PyTorch has given its own operations: the same pool, if all is well. */
int threads(void) { return omp_get_max_threads(); }

/* e^x = 2^n e^r with n whole and |r| <= ln(2)/2, where six terms are enough; no branch, so that a loop is vectorised.
   2^n is made of its bits. The coefficients are those of Cephes' expf. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: what is behind the point falls off */
    float n = shifted - 12582912.0f;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float terms = 1.9875691500e-4f;
    terms = terms * r + 1.3981999507e-3f;
    terms = terms * r + 8.3334519073e-3f;
    terms = terms * r + 4.1665795894e-2f;
    terms = terms * r + 1.6666665459e-1f;
    terms = terms * r + 5.0000001201e-1f;
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (int32_t)((uint32_t)bits << 23) + (127 << 23); /* the lowest bits of `shifted` are n */
    float power;
    memcpy(&power, &bits, sizeof power);
    return (terms * r * r + r + 1.0f) * power;
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

/* core/rmsnorm.py: h = gain x r with r = 1 / sqrt(mean(x^2) + eps). x, h (N, D), gain (D), r (N). */
void rms_norm(int64_t N, int64_t D, const float *x, const float *gain, float eps, number *h, float *inverse_rms) {
#pragma omp parallel for schedule(static) if (WORTH_THREADS(N * D))
    for (int64_t n = 0; n < N; n++) {
        const float *row = x + n * D;
        number *result = h + n * D;
        float squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t d = 0; d < D; d++) squares += row[d] * row[d];
        float r = 1.0f / sqrtf(squares / D + eps);
#pragma omp simd
        for (int64_t d = 0; d < D; d++) result[d] = rounded(row[d] * r * gain[d]);
        inverse_rms[n] = r;
    }
}

/* Its gradients: dx = r (e - x r mean(e x r)) + beside with e = gain dh, and dgain = sum over rows of dh x r.
   `beside` (N, D) may be NULL. `partial` (threads, D) is room for each thread's own sum. */
void rms_norm_gradients(int64_t N, int64_t D, const number *dh, const float *x, const float *inverse_rms,
                        const float *gain, const float *beside, float *dx, float *dgain, float *partial) {
    int used = 1;
#pragma omp parallel if (WORTH_THREADS(N * D))
    {
        float *own = partial + omp_get_thread_num() * D;
        memset(own, 0, D * sizeof(float));
#pragma omp for schedule(static)
        for (int64_t n = 0; n < N; n++) {
            const number *dh_row = dh + n * D;
            const float *row = x + n * D;
            float *result = dx + n * D;
            float r = inverse_rms[n], total = 0;
#pragma omp simd reduction(+ : total)
            for (int64_t d = 0; d < D; d++) {
                float along = as_float(dh_row[d]) * row[d] * r;
                own[d] += along;
                total += along * gain[d];
            }
            float share = total / D * r * r;
            if (beside)
#pragma omp simd
                for (int64_t d = 0; d < D; d++)
                    result[d] = r * gain[d] * as_float(dh_row[d]) - share * row[d] + beside[n * D + d];
            else
#pragma omp simd
                for (int64_t d = 0; d < D; d++) result[d] = r * gain[d] * as_float(dh_row[d]) - share * row[d];
        }
#pragma omp single
        used = omp_get_num_threads();
    }
    memcpy(dgain, partial, D * sizeof(float));
    for (int64_t t = 1; t < used; t++)
        for (int64_t d = 0; d < D; d++) dgain[d] += partial[t * D + d];
}

/* core/rope.py: y is x, each pair rotated by the angle whose cosine and sine are given; `back` is 1, or -1 to rotate
   back. x, y (N, H, 2P), which may be the same; row n is at position n mod T of the table (T, P, 2). */
void rotate(int64_t N, int64_t H, int64_t P, int64_t T, const float *x, const float *cos_sin, float back, float *y) {
#pragma omp parallel for schedule(static) if (WORTH_THREADS(N * H * 2 * P))
    for (int64_t n = 0; n < N; n++) {
        const float *angles = cos_sin + n % T * 2 * P;
        for (int64_t h = 0; h < H; h++) {
            const float *row = x + (n * H + h) * 2 * P;
            float *result = y + (n * H + h) * 2 * P;
#pragma omp simd
            for (int64_t i = 0; i < P; i++) {
                float c = angles[2 * i], s = back * angles[2 * i + 1], even = row[2 * i], odd = row[2 * i + 1];
                result[2 * i] = even * c - odd * s;
                result[2 * i + 1] = even * s + odd * c;
            }
        }
    }
}

/* core/feed_forward.py: y = silu(gate) up, n of each. */
void swiglu(int64_t n, const number *gate, const number *up, number *y) {
#pragma omp parallel for simd schedule(static) if (parallel : WORTH_THREADS(n))
    for (int64_t i = 0; i < n; i++) {
        float g = as_float(gate[i]);
        y[i] = rounded(g * sigmoid(g) * as_float(up[i]));
    }
}

/* Its gradients, with s = sigmoid(gate): dup = dy gate s and dgate = dy up s (1 + gate (1 - s)). dup may be dy. */
void swiglu_gradients(int64_t n, const number *dy, const number *gate, const number *up, number *dgate, number *dup) {
#pragma omp parallel for simd schedule(static) if (parallel : WORTH_THREADS(n))
    for (int64_t i = 0; i < n; i++) {
        float g = as_float(gate[i]), s = sigmoid(g), slope = as_float(dy[i]);
        dgate[i] = rounded(slope * as_float(up[i]) * s * (1.0f + g * (1.0f - s)));
        dup[i] = rounded(slope * g * s);
    }
}

/* core/cross_entropy.py: loss = log sum exp(logits) - logits[target] (N), and with `gradients` softmax(logits) -
   onehot(target) over the logits (N, V). Both are zero where the target is `ignore_index`. Returns a row whose target
   is none of the V, or -1. */
int64_t losses_and_gradients(int64_t N, int64_t V, number *logits, const int64_t *targets, int64_t ignore_index,
                          int gradients, float *losses) {
    int64_t wrong = -1;
#pragma omp parallel for schedule(static) if (WORTH_THREADS(N * V))
    for (int64_t n = 0; n < N; n++) {
        number *row = logits + n * V;
        if (targets[n] == ignore_index) {
            losses[n] = 0;
            if (gradients) memset(row, 0, V * sizeof(number));
            continue;
        }
        if (targets[n] < 0 || targets[n] >= V) {
#pragma omp atomic write
            wrong = n;
            continue;
        }
        float target_logit = as_float(row[targets[n]]), largest = as_float(row[0]), sum = 0;
#pragma omp simd reduction(max : largest)
        for (int64_t v = 0; v < V; v++) largest = as_float(row[v]) > largest ? as_float(row[v]) : largest;
#pragma omp simd reduction(+ : sum)
        for (int64_t v = 0; v < V; v++) sum += exponential(as_float(row[v]) - largest);
        losses[n] = logf(sum) + (largest - target_logit);
        if (!gradients) continue;
        float share = 1.0f / sum;
        float of_target = exponential(target_logit - largest) * share - 1.0f;
#pragma omp simd
        for (int64_t v = 0; v < V; v++) row[v] = rounded(exponential(as_float(row[v]) - largest) * share);
        row[targets[n]] = rounded(of_target);
    }
    return wrong;
}

/* core/adamw.py, all weights of a kind. `kept` is what decay leaves of a weight, `decay` what it adds to a gradient;
   `epsilon` and `step_size` have sqrt(1 - b2^t) in them. */
void adam(int64_t count, float *const *weights, const float *const *grads, float *const *means,
          float *const *squares, const int64_t *sizes, float kept, float decay, float one_minus_beta1, float beta2,
          float one_minus_beta2, float epsilon, float step_size) {
#pragma omp parallel if (WORTH_THREADS(sum(count, sizes)))
    for (int64_t t = 0; t < count; t++) {
        float *w = weights[t], *m = means[t], *v = squares[t];
        const float *g = grads[t];
#pragma omp for simd schedule(static) nowait
        for (int64_t i = 0; i < sizes[t]; i++) {
            float weight = w[i] * kept, slope = g[i] + decay * weight;
            float mean = m[i] + (slope - m[i]) * one_minus_beta1;
            float square = v[i] * beta2 + slope * slope * one_minus_beta2;
            w[i] = weight - step_size * mean / (sqrtf(square) + epsilon);
            m[i] = mean;
            v[i] = square;
        }
    }
}

/* core/grad_clip.py: the sum of the squares of all gradients. In float within a block, in double over all blocks and
   threads. `partial` (threads) is room for each thread's own sum. */
double sum_of_squares(int64_t count, const float *const *grads, const int64_t *sizes, double *partial) {
    const int64_t block = 1024;
    int used = 1;
#pragma omp parallel if (WORTH_THREADS(sum(count, sizes)))
    {
        double own = 0;
        for (int64_t t = 0; t < count; t++) {
            const float *g = grads[t];
#pragma omp for schedule(static) nowait
            for (int64_t first = 0; first < sizes[t]; first += block) {
                int64_t end = first + block < sizes[t] ? first + block : sizes[t];
                float squares = 0;
#pragma omp simd reduction(+ : squares)
                for (int64_t i = first; i < end; i++) squares += g[i] * g[i];
                own += squares;
            }
        }
        partial[omp_get_thread_num()] = own;
#pragma omp single
        used = omp_get_num_threads();
    }
    double total = 0;
    for (int t = 0; t < used; t++) total += partial[t];
    return total;
}

/* All gradients times a factor. */
void scale(int64_t count, float *const *grads, const int64_t *sizes, float factor) {
#pragma omp parallel if (WORTH_THREADS(sum(count, sizes)))
    for (int64_t t = 0; t < count; t++) {
        float *g = grads[t];
#pragma omp for simd schedule(static) nowait
        for (int64_t i = 0; i < sizes[t]; i++) g[i] *= factor;
    }
}
