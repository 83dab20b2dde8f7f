// Times what llama.cpp does before it can answer, and its first token, through its public interface:
//   llama_load MODEL THREADS  ->  {"load_s": …, "first_token_s": …}
// load_s: from opening the file to a context of 640 positions; first_token_s: until one more token is evaluated
// (mapped weights are only read by then).

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "llama.h"

static void silent(ggml_log_level, const char *, void *) {}

int main(int argc, char ** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: llama_load MODEL THREADS\n");
        return 2;
    }
    llama_log_set(silent, nullptr);
    llama_backend_init();
    const auto start = std::chrono::steady_clock::now();
    const auto seconds = [&] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };

    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) {
        fprintf(stderr, "cannot load %s\n", argv[1]);
        return 1;
    }
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 640;
    params.n_threads = params.n_threads_batch = atoi(argv[2]);
    llama_context * context = llama_init_from_model(model, params);
    if (!context) {
        fprintf(stderr, "cannot make a context for %s\n", argv[1]);
        return 1;
    }
    const double loaded = seconds();

    llama_token token = 1;
    if (llama_decode(context, llama_batch_get_one(&token, 1)) != 0) {
        fprintf(stderr, "cannot evaluate a token\n");
        return 1;
    }
    llama_synchronize(context);
    printf("{\"load_s\": %.6f, \"first_token_s\": %.6f}\n", loaded, seconds());
    llama_free(context);
    llama_model_free(model);
    return 0;
}
