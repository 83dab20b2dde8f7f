// What diffusion transformers compute beside products, in one pass each. Every kernel takes the result, up to three operands,
// how many threads have work (n), seven whole numbers and a number; ops.rs says what they are. Operands are f32 and
// contiguous. Kernels over rows have a warp for each row.

#define OPERANDS                                                                                                        \
    float *out, const float *a, const float *b, const float *c, int n, int p0, int p1, int p2, int p3, int p4, int p5,  \
        int p6, float f
#define EACH(i)                                                                                                         \
    int i = blockIdx.x * blockDim.x + threadIdx.x;                                                                      \
    if (i >= n) return;
#define ROW(row, lane)                                                                                                  \
    int lane = threadIdx.x & 31, row = (blockIdx.x * blockDim.x + threadIdx.x) >> 5;                                    \
    if (row >= n / 32) return;

// The sum over a warp, on all of its lanes.
__device__ float whole(float x) {
    for (int step = 16; step > 0; step >>= 1) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

__device__ float greatest(float x) {
    for (int step = 16; step > 0; step >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

// Mean and 1 / deviation of a row.
__device__ float2 moments(const float *x, int width, int lane, float eps) {
    float sum = 0, squares = 0;
    for (int i = lane; i < width; i += 32) sum += x[i];
    float mean = whole(sum) / width;
    for (int i = lane; i < width; i += 32) squares += (x[i] - mean) * (x[i] - mean);
    return make_float2(mean, rsqrtf(whole(squares) / width + eps));
}

// a: rows of p0 numbers, of which p1 are a sample; b, c: shift and scale of each sample; f: eps.
extern "C" __global__ void modulated_norm(OPERANDS) {
    ROW(row, lane)
    const float *x = a + (size_t)row * p0, *shift = b + (size_t)(row / p1) * p0, *scale = c + (size_t)(row / p1) * p0;
    float2 m = moments(x, p0, lane, f);
    for (int i = lane; i < p0; i += 32)
        out[(size_t)row * p0 + i] = (x[i] - m.x) * m.y * (1 + scale[i]) + shift[i];
}

// The gradient of the rows: a: rows, b: scale, c: gradient of the result.
extern "C" __global__ void modulated_norm_rows(OPERANDS) {
    ROW(row, lane)
    const float *x = a + (size_t)row * p0, *scale = b + (size_t)(row / p1) * p0, *dy = c + (size_t)row * p0;
    float2 m = moments(x, p0, lane, f);
    float mean = 0, along = 0;
    for (int i = lane; i < p0; i += 32) {
        float g = dy[i] * (1 + scale[i]);
        mean += g;
        along += g * (x[i] - m.x) * m.y;
    }
    mean = whole(mean) / p0;
    along = whole(along) / p0;
    for (int i = lane; i < p0; i += 32)
        out[(size_t)row * p0 + i] = m.y * (dy[i] * (1 + scale[i]) - mean - (x[i] - m.x) * m.y * along);
}

// Mean and 1 / deviation of each row of a.
extern "C" __global__ void row_moments(OPERANDS) {
    ROW(row, lane)
    float2 m = moments(a + (size_t)row * p0, p0, lane, f);
    if (lane == 0) {
        out[2 * row] = m.x;
        out[2 * row + 1] = m.y;
    }
}

// Sums for shift and, p3 samples further on, for scale: a: rows, b: gradient of the result, c: moments. A thread takes p2
// rows of a sample's p1 at one column of p0.
extern "C" __global__ void modulated_norm_sums(OPERANDS) {
    EACH(i)
    int column = i % p0, parts = (p1 + p2 - 1) / p2, part = i / p0 % parts, sample = i / p0 / parts;
    float shift = 0, scale = 0;
    for (int t = part * p2; t < min(p1, (part + 1) * p2); t++) {
        size_t row = (size_t)sample * p1 + t;
        float dy = b[row * p0 + column];
        shift += dy;
        scale += dy * (a[row * p0 + column] - c[2 * row]) * c[2 * row + 1];
    }
    atomicAdd(out + (size_t)sample * p0 + column, shift);
    atomicAdd(out + ((size_t)p3 + sample) * p0 + column, scale);
}

// p0: 0 for silu, 1 for gelu by tanh.
extern "C" __global__ void activated(OPERANDS) {
    EACH(i)
    float x = a[i];
    out[i] = p0 == 0 ? x / (1 + expf(-x)) : 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}

extern "C" __global__ void activated_back(OPERANDS) {
    EACH(i)
    float x = a[i], slope;
    if (p0 == 0) {
        float s = 1 / (1 + expf(-x));
        slope = s * (1 + x * (1 - s));
    } else {
        float t = tanhf(0.7978845608f * (x + 0.044715f * x * x * x));
        slope = 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.7978845608f * (1 + 0.134145f * x * x);
    }
    out[i] = slope * b[i];
}

// a + b * c: p0 columns, p1 rows a sample, c by samples.
extern "C" __global__ void add_gated(OPERANDS) {
    EACH(i)
    out[i] = a[i] + b[i] * c[(size_t)(i / p0 / p1) * p0 + i % p0];
}

// a * b: as before.
extern "C" __global__ void gated(OPERANDS) {
    EACH(i)
    out[i] = a[i] * b[(size_t)(i / p0 / p1) * p0 + i % p0];
}

// Sums of a * b over the rows of a sample; threads as in modulated_norm_sums.
extern "C" __global__ void gate_sums(OPERANDS) {
    EACH(i)
    int column = i % p0, parts = (p1 + p2 - 1) / p2, part = i / p0 % parts, sample = i / p0 / parts;
    float sum = 0;
    for (int t = part * p2; t < min(p1, (part + 1) * p2); t++) {
        size_t at = ((size_t)sample * p1 + t) * p0 + column;
        sum += a[at] * b[at];
    }
    atomicAdd(out + (size_t)sample * p0 + column, sum);
}

// a plus b in each row of p0.
extern "C" __global__ void add_bias(OPERANDS) {
    EACH(i)
    out[i] = a[i] + b[i % p0];
}

// Sums of the p1 rows of p0 of a; a thread takes p2 rows at one column.
extern "C" __global__ void column_sums(OPERANDS) {
    EACH(i)
    int column = i % p0, part = i / p0;
    float sum = 0;
    for (int t = part * p2; t < min(p1, (part + 1) * p2); t++) sum += a[(size_t)t * p0 + column];
    atomicAdd(out + column, sum);
}

// Heads of queries, keys or values: a: rows [samples, p1, p3], the heads from p4 on, p0 of them of p2; b: weights of the norm;
// c: cosines [p1, p2 / 2] and sines. p5: 1 with norm, 2 with rotation. Gives [samples, p0, p1, p2].
extern "C" __global__ void heads_of(OPERANDS) {
    ROW(row, lane)
    int head = row % p0, t = row / p0 % p1, sample = row / p0 / p1, half = p2 / 2;
    const float *x = a + ((size_t)sample * p1 + t) * p3 + p4 + head * p2;
    float *y = out + (((size_t)sample * p0 + head) * p1 + t) * p2;
    float k = 1;
    if (p5 & 1) {
        float squares = 0;
        for (int i = lane; i < p2; i += 32) squares += x[i] * x[i];
        k = rsqrtf(whole(squares) / p2 + f);
    }
    for (int i = lane; i < half; i += 32) {
        float u = x[i] * k, v = x[i + half] * k;
        if (p5 & 1) {
            u *= b[i];
            v *= b[i + half];
        }
        if (p5 & 2) {
            float cosine = c[t * half + i], sine = c[(p1 + t) * half + i], w = u * cosine - v * sine;
            v = v * cosine + u * sine;
            u = w;
        }
        y[i] = u;
        y[i + half] = v;
    }
}

// The way back: a: rows as before; b: weights of the norm [p2], then cosines and sines; c: gradient of the heads. Writes
// the heads of the rows' gradient.
extern "C" __global__ void heads_of_back(OPERANDS) {
    ROW(row, lane)
    int head = row % p0, t = row / p0 % p1, sample = row / p0 / p1, half = p2 / 2;
    size_t at = ((size_t)sample * p1 + t) * p3 + p4 + head * p2;
    const float *x = a + at, *g = c + (((size_t)sample * p0 + head) * p1 + t) * p2, *table = b + p2;
    float *y = out + at, squares = 0, along = 0;
    for (int i = lane; i < p2; i += 32) squares += x[i] * x[i];
    float k = p5 & 1 ? rsqrtf(whole(squares) / p2 + f) : 1;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = lane; i < half; i += 32) {
            float u = g[i], v = g[i + half];
            if (p5 & 2) {
                float cosine = table[t * half + i], sine = table[(p1 + t) * half + i], w = u * cosine + v * sine;
                v = v * cosine - u * sine;
                u = w;
            }
            if (p5 & 1) {
                u *= b[i];
                v *= b[i + half];
            }
            if (pass == 0) {
                along += u * x[i] + v * x[i + half];
            } else {
                y[i] = k * u - x[i] * along;
                y[i + half] = k * v - x[i + half] * along;
            }
        }
        if (pass == 0) along = p5 & 1 ? whole(along) * k * k * k / p2 : 0;
    }
}

// The gradient of the norm's weights, [p2]; operands as before. A warp takes every p6th row.
extern "C" __global__ void head_norm_sums(OPERANDS) {
    int lane = threadIdx.x & 31, warp = (blockIdx.x * blockDim.x + threadIdx.x) >> 5, half = p2 / 2;
    if (warp >= p6) return;
    const float *table = b + p2;
    float first[4] = {0, 0, 0, 0}, second[4] = {0, 0, 0, 0};
    for (int row = warp; row < n / 32; row += p6) {
        int head = row % p0, t = row / p0 % p1, sample = row / p0 / p1;
        const float *x = a + ((size_t)sample * p1 + t) * p3 + p4 + head * p2;
        const float *g = c + (((size_t)sample * p0 + head) * p1 + t) * p2;
        float squares = 0;
        for (int i = lane; i < p2; i += 32) squares += x[i] * x[i];
        float k = rsqrtf(whole(squares) / p2 + f);
        for (int i = lane, j = 0; i < half && j < 4; i += 32, j++) {
            float u = g[i], v = g[i + half];
            if (p5 & 2) {
                float cosine = table[t * half + i], sine = table[(p1 + t) * half + i], w = u * cosine + v * sine;
                v = v * cosine - u * sine;
                u = w;
            }
            first[j] += u * x[i] * k;
            second[j] += v * x[i + half] * k;
        }
    }
    for (int i = lane, j = 0; i < half && j < 4; i += 32, j++) {
        atomicAdd(out + i, first[j]);
        atomicAdd(out + i + half, second[j]);
    }
}

// Softmax of f * a over rows of p0, of which the first b[sample] count where p2 is 1; p1 rows a sample. None: zeros.
extern "C" __global__ void softmax(OPERANDS) {
    ROW(row, lane)
    const float *x = a + (size_t)row * p0;
    float *y = out + (size_t)row * p0;
    int count = p2 ? (int)b[row / p1] : p0;
    float most = -3e38f, sum = 0;
    for (int i = lane; i < count; i += 32) most = fmaxf(most, x[i] * f);
    most = greatest(most);
    for (int i = lane; i < count; i += 32) sum += expf(x[i] * f - most);
    sum = whole(sum);
    for (int i = lane; i < p0; i += 32) y[i] = i < count ? expf(x[i] * f - most) / sum : 0;
}

// a: its result, b: the gradient of that.
extern "C" __global__ void softmax_back(OPERANDS) {
    ROW(row, lane)
    const float *y = a + (size_t)row * p0, *dy = b + (size_t)row * p0;
    float along = 0;
    for (int i = lane; i < p0; i += 32) along += y[i] * dy[i];
    along = whole(along);
    for (int i = lane; i < p0; i += 32) out[(size_t)row * p0 + i] = f * y[i] * (dy[i] - along);
}

// [.., p0, p1, p2] to [.., p1, p0, p2].
extern "C" __global__ void swapped(OPERANDS) {
    EACH(i)
    int z = i % p2, x = i / p2 % p0, y = i / p2 / p0 % p1, rest = i / p2 / p0 / p1;
    out[i] = a[(((size_t)rest * p0 + x) * p1 + y) * p2 + z];
}

// What a kernel of p3 × p3 sees at each pixel of images [.., p0, p1, p2], zeros around them.
extern "C" __global__ void seen(OPERANDS) {
    EACH(i)
    int channel = i % p2, tap = i / p2 % (p3 * p3), pixel = i / p2 / (p3 * p3);
    int x = pixel % p1 + tap % p3 - p3 / 2, y = pixel / p1 % p0 + tap / p3 - p3 / 2, image = pixel / p1 / p0;
    bool inside = x >= 0 && x < p1 && y >= 0 && y < p0;
    out[i] = inside ? a[(((size_t)image * p0 + y) * p1 + x) * p2 + channel] : 0;
}

extern "C" __global__ void seen_back(OPERANDS) {
    EACH(i)
    int channel = i % p2, x = i / p2 % p1, y = i / p2 / p1 % p0, image = i / p2 / p1 / p0;
    float sum = 0;
    for (int tap = 0; tap < p3 * p3; tap++) {
        int u = x - tap % p3 + p3 / 2, v = y - tap / p3 + p3 / 2;
        if (u >= 0 && u < p1 && v >= 0 && v < p0)
            sum += a[((((size_t)image * p0 + v) * p1 + u) * p3 * p3 + tap) * p2 + channel];
    }
    out[i] = sum;
}

// Each pixel's channels of the frame before, its own and those of the frame after: frames of p1 pixels of p2, p0 a clip;
// p3: 1 where the first follows the last.
__device__ int beside_frame(int frame, int step, int frames, int closed) {
    int at = frame + step;
    return closed ? (at + frames) % frames : min(max(at, 0), frames - 1);
}

extern "C" __global__ void beside(OPERANDS) {
    EACH(i)
    int channel = i % p2, part = i / p2 % 3, pixel = i / p2 / 3 % p1, row = i / p2 / 3 / p1;
    int frame = row % p0, from = row - frame + beside_frame(frame, part - 1, p0, p3);
    out[i] = a[((size_t)from * p1 + pixel) * p2 + channel];
}

extern "C" __global__ void beside_back(OPERANDS) {
    EACH(i)
    int channel = i % p2, pixel = i / p2 % p1, row = i / p2 / p1, frame = row % p0;
    float sum = 0;
    for (int step = -1; step <= 1; step++)
        for (int other = frame - 1; other <= frame + 1; other++) {
            int at = p3 ? (other + p0) % p0 : other;
            // In clips of two frames that repeat, both neighbours are the same one.
            if (at < 0 || at >= p0 || (p3 && p0 == 2 && other == frame + 1) || (p3 && p0 == 1 && other != frame)) continue;
            if (beside_frame(at, step, p0, p3) == frame)
                sum += a[(((size_t)(row - frame + at) * p1 + pixel) * 3 + step + 1) * p2 + channel];
        }
    out[i] = sum;
}

// Images [.., p0, p1, p2] to blocks of p3 × p3 as channels, [.., p0 / p3, p1 / p3, p2 · p3²].
extern "C" __global__ void unshuffled(OPERANDS) {
    EACH(i)
    int u = i % p3, v = i / p3 % p3, channel = i / p3 / p3 % p2, rest = i / p3 / p3 / p2;
    int x = rest % (p1 / p3), y = rest / (p1 / p3) % (p0 / p3), image = rest / (p1 / p3) / (p0 / p3);
    out[i] = a[(((size_t)image * p0 + y * p3 + v) * p1 + x * p3 + u) * p2 + channel];
}

// The way back.
extern "C" __global__ void shuffled(OPERANDS) {
    EACH(i)
    int channel = i % p2, x = i / p2 % p1, y = i / p2 / p1 % p0, image = i / p2 / p1 / p0;
    size_t block = ((size_t)image * (p0 / p3) + y / p3) * (p1 / p3) + x / p3;
    out[i] = a[((block * p2 + channel) * p3 + y % p3) * p3 + x % p3];
}
