/* The C interface of BridgeStan for one model, without Stan: for tests.
 *
 * Eight schools, centred: mu ~ N(0, 5), tau ~ half-Cauchy(0, 5), theta ~ N(mu, tau),
 * y ~ N(theta, sigma). The data, a JSON text, give y and sigma: {"y": [...], "sigma": [...]}.
 * Unconstrained points are (mu, log tau, theta). The transformed parameter is m, a 2 x 2 matrix of
 * i + 10 j at (i, j); generated quantities are a normal number z and log_lik[8].
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define J 8
#define LOG_2PI 1.8378770664093454836

typedef struct {
  double y[J], sigma[J];
} bs_model;
typedef struct {
  uint64_t state;
} bs_rng;

/* Messages that are not freed yet; a test reads it. */
int bs_test_messages = 0;
/* Models that exist. */
int bs_test_models = 0;

static int complain(char **error, const char *text) {
  if (error) {
    *error = malloc(strlen(text) + 1);
    strcpy(*error, text);
    bs_test_messages++;
  }
  return -1;
}

void bs_free_error_msg(char *text) {
  free(text);
  bs_test_messages--;
}

static bool numbers(const char *data, const char *name, double *out) {
  const char *at = strstr(data, name);
  if (!at || !(at = strchr(at, '['))) return false;
  for (int j = 0; j < J; j++) {
    char *end;
    out[j] = strtod(at + 1, &end);
    if (end == at + 1) return false;
    at = end;
  }
  return *at == ']';
}

bs_model *bs_model_construct(const char *data, unsigned int seed, char **error) {
  (void)seed;
  bs_model *m = malloc(sizeof(bs_model));
  if (!numbers(data, "\"y\"", m->y) || !numbers(data, "\"sigma\"", m->sigma)) {
    free(m);
    complain(error, "variable y or sigma does not exist, or has not 8 numbers");
    return NULL;
  }
  bs_test_models++;
  return m;
}

void bs_model_destruct(bs_model *m) {
  free(m);
  bs_test_models--;
}

const char *bs_name(const bs_model *m) { return (void)m, "schools_model"; }
#ifdef THREADS
const char *bs_model_info(const bs_model *m) { return (void)m, "STAN_THREADS=true\n"; }
#else
const char *bs_model_info(const bs_model *m) { return (void)m, "STAN_THREADS=false\n"; }
#endif

#define PARAMETERS "mu,tau,theta.1,theta.2,theta.3,theta.4,theta.5,theta.6,theta.7,theta.8"
#define TRANSFORMED ",m.1.1,m.2.1,m.1.2,m.2.2"
#define LOG_LIK                                                                                    \
  ",log_lik.1,log_lik.2,log_lik.3,log_lik.4,log_lik.5,log_lik.6,log_lik.7,log_lik.8"

const char *bs_param_names(const bs_model *m, bool transformed, bool generated) {
  (void)m;
  if (generated) return transformed ? PARAMETERS TRANSFORMED ",z" LOG_LIK : PARAMETERS ",z" LOG_LIK;
  return transformed ? PARAMETERS TRANSFORMED : PARAMETERS;
}

const char *bs_param_unc_names(const bs_model *m) { return (void)m, PARAMETERS; }
int bs_param_num(const bs_model *m, bool transformed, bool generated) {
  (void)m;
  return 2 + J + (transformed ? 4 : 0) + (generated ? 1 + J : 0);
}
int bs_param_unc_num(const bs_model *m) { return (void)m, 2 + J; }

bs_rng *bs_rng_construct(unsigned int seed, char **error) {
  (void)error;
  bs_rng *rng = malloc(sizeof(bs_rng));
  rng->state = seed * 6364136223846793005ull + 1442695040888963407ull;
  return rng;
}
void bs_rng_destruct(bs_rng *rng) { free(rng); }

static double normal(double x, double mean, double sd) {
  double z = (x - mean) / sd;
  return -0.5 * z * z - log(sd) - 0.5 * LOG_2PI;
}

int bs_param_constrain(const bs_model *m, bool transformed, bool generated, const double *x,
                       double *out, bs_rng *rng, char **error) {
  memcpy(out, x, (2 + J) * sizeof(double));
  out[1] = exp(x[1]);
  double *at = out + 2 + J;
  if (transformed)
    for (int j = 0; j < 2; j++)
      for (int i = 0; i < 2; i++) *at++ = i + 10 * j;
  if (generated) {
    if (!rng) return complain(error, "generated quantities need an rng");
    rng->state = rng->state * 6364136223846793005ull + 1442695040888963407ull;
    double u = ((rng->state >> 11) + 0.5) / 9007199254740992.0;
    *at++ = sqrt(-2 * log(u));
    for (int j = 0; j < J; j++) *at++ = normal(m->y[j], x[2 + j], m->sigma[j]);
  }
  return 0;
}

int bs_param_unconstrain(const bs_model *m, const double *x, double *out, char **error) {
  (void)m;
  if (!(x[1] > 0)) return complain(error, "tau is not positive");
  memcpy(out, x, (2 + J) * sizeof(double));
  out[1] = log(x[1]);
  return 0;
}

int bs_log_density_gradient(const bs_model *m, bool propto, bool jacobian, const double *x,
                            double *value, double *gradient, char **error) {
  double mu = x[0], tau = exp(x[1]);
  if (propto || !jacobian) return complain(error, "another call was expected");
  if (!(tau > 0 && tau < 1e6)) return complain(error, "normal_lpdf: Scale parameter is 0\n");
  double t = tau / 5, at_mu = -mu / 25, at_log = 0, sum = normal(mu, 0, 5);
  sum += log(2 / (5 * M_PI)) - log1p(t * t) + x[1];
  at_log += 1 - 2 * t * t / (1 + t * t);
  for (int j = 0; j < J; j++) {
    double theta = x[2 + j], z = (theta - mu) / tau, r = (m->y[j] - theta) / m->sigma[j];
    sum += normal(theta, mu, tau) + normal(m->y[j], theta, m->sigma[j]);
    at_mu += z / tau;
    at_log += z * z - 1;
    gradient[2 + j] = -z / tau + r / m->sigma[j];
  }
  gradient[0] = at_mu;
  gradient[1] = at_log;
  *value = sum;
  return 0;
}
