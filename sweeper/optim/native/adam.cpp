// One step of Adam, AdamW or AMSGrad for every row of a pack, with its statistics in the same pass.
//
// The same operations in the same order as sweeper/optim/rules/adam.py and step: without
// contraction to fused multiply-adds, parameters and state are bit for bit those of the rule run
// by torch (norm clipping apart, whose sum has another order). Sums are made in blocks, within a
// block in the dtype of the run and over the blocks in double: they depend on the row alone.
//
// Compiled for one kind of pack: REAL is float or double; HAS_LARGEST, HAS_PREVIOUS and HAS_MASK
// say which of the pointers are there; IS_clip_norm and the like are the places of the
// coefficients in their table [C, K], SAYS_grad_norm and the like those of the statistics [S, K].

#include <cmath>
#include <cstdint>
#include <limits>

using real = REAL;

struct Arena {
    int64_t rows, size;
    real *theta, *first, *second, *largest, *previous;  // [rows, size]
    const real *mask;                                   // [size]
};

namespace {

using limits = std::numeric_limits<real>;
constexpr int64_t kBlock = 2048;     // its seven streams stay within the first-level cache's reach
constexpr real kClipEps = (real)1e-6;  // as in torch.nn.utils.clip_grad_norm_

double sum_of_squares(const real *values, int64_t size) {
    double total = 0;
    for (int64_t start = 0; start < size; start += kBlock) {
        const int64_t end = start + kBlock < size ? start + kBlock : size;
        real part = 0;
#pragma omp simd reduction(+ : part)
        for (int64_t i = start; i < end; i++) part += values[i] * values[i];
        total += part;
    }
    return total;
}

// Comparisons are written so that NaN goes through them, as it does in torch.
inline real clamped(real value, real low, real high) {
    value = value < low ? low : value;
    return value > high ? high : value;
}

template <bool IS_SAMPLED>
void step_row(const Arena &arena, int64_t row, const real *grads, const real *table, real *said) {
    const int64_t size = arena.size, rows = arena.rows, offset = row * size;
    const auto coefficient = [=](int place) { return table[place * rows + row]; };
    const auto say = [=](int place, double value) { said[place * rows + row] = (real)value; };
    real *__restrict theta = arena.theta + offset;
    real *__restrict first = arena.first + offset;
    real *__restrict second = arena.second + offset;
    real *__restrict largest = HAS_LARGEST ? arena.largest + offset : nullptr;
    real *__restrict previous = HAS_PREVIOUS ? arena.previous + offset : nullptr;
    const real *__restrict grad = grads + offset;
    const real *__restrict mask = arena.mask;

    const real coupled = coefficient(IS_coupled), decay = coefficient(IS_decay);
    const real high = coefficient(IS_clip_value), low = -high, limit = coefficient(IS_clip_norm);
    const real step_size = coefficient(IS_step_size), unbiased = coefficient(IS_unbiased);
    const real beta1_left = coefficient(IS_beta1_left), eps = coefficient(IS_eps);
    const real beta2 = coefficient(IS_beta2), beta2_left = coefficient(IS_beta2_left);
    const bool keeps_largest = HAS_LARGEST && coefficient(IS_amsgrad) > 0;
    const real least = eps > limits::min() ? eps : limits::min();

    real share = 1;
    if (limit < limits::infinity()) {
        share = limit / ((real)std::sqrt(sum_of_squares(grad, size)) + kClipEps);
        share = share > 1 ? 1 : share;
    }
    double grad_squares = 0, change_squares = 0, theta_squares = 0, ratio_squares = 0;
    double dominated = 0, product = 0, previous_squares = 0;
    for (int64_t start = 0; start < size; start += kBlock) {
        const int64_t end = start + kBlock < size ? start + kBlock : size;
        real of_grad = 0, of_change = 0, of_theta = 0, of_ratio = 0;
        real below = 0, with_previous = 0, of_previous = 0;
#pragma omp simd reduction(+ : of_grad, of_change, of_theta, of_ratio, below, with_previous, of_previous)
        for (int64_t i = start; i < end; i++) {
            const real decayed = HAS_MASK ? theta[i] * mask[i] : theta[i];
            const real g = clamped(grad[i] * share, low, high) + coupled * decayed;
            const real m = first[i] + beta1_left * (g - first[i]);
            const real v = beta2 * second[i] + beta2_left * g * g;
            real divisor = v;
            if (HAS_LARGEST) {
                const real most = largest[i] >= v ? largest[i] : v;
                divisor = keeps_largest ? most : v;
                largest[i] = divisor;
            }
            const real root = std::sqrt(divisor) * unbiased;
            const real change = step_size * (m / (root + eps)) + decay * decayed;
            const real after = theta[i] - change;
            if (IS_SAMPLED) {
                const real ratio = grad[i] / (root < least ? least : root);
                of_grad += grad[i] * grad[i];
                of_change += change * change;
                of_theta += after * after;
                of_ratio += ratio * ratio;
                below += root < eps ? (real)1 : (real)0;
                if (HAS_PREVIOUS) {
                    with_previous += change * previous[i];
                    of_previous += previous[i] * previous[i];
                }
            }
            first[i] = m;
            second[i] = v;
            theta[i] = after;
            if (HAS_PREVIOUS) previous[i] = change;
        }
        if (IS_SAMPLED) {
            grad_squares += of_grad;
            change_squares += of_change;
            theta_squares += of_theta;
            ratio_squares += of_ratio;
            dominated += below;
            product += with_previous;
            previous_squares += of_previous;
        }
    }
    if (IS_SAMPLED) {
        say(SAYS_grad_norm, std::sqrt(grad_squares));
        say(SAYS_update_rms, std::sqrt(change_squares / size));
        say(SAYS_param_norm, std::sqrt(theta_squares));
        say(SAYS_eps_dominance, dominated / size);
        say(SAYS_grad_surprise, std::sqrt(ratio_squares / size));
        const double lengths = std::sqrt(change_squares) * std::sqrt(previous_squares);
        say(SAYS_update_cosine, HAS_PREVIOUS ? product / lengths : limits::quiet_NaN());
    }
}

}  // namespace

// Rows from `begin` to `end`; `said` is null where no statistics are wanted.
extern "C" void step(
    const Arena *arena, int64_t begin, int64_t end, const real *grads, const real *table, real *said
) {
    for (int64_t row = begin; row < end; row++) {
        if (said) {
            step_row<true>(*arena, row, grads, table, said);
        } else {
            step_row<false>(*arena, row, grads, table, nullptr);
        }
    }
}
