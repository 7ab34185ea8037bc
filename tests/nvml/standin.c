/* A stand-in for NVIDIA's libnvidia-ml.so.1: no machine of the project has the real one.
 *
 * It speaks the functions that pynvml calls, with the types of NVIDIA's public nvml.h, and says
 * what a file says: $NVML_STANDIN names it, `key=value` lines, read anew at each call, so that a
 * test steers a running exporter. A value of `!N` makes that call return the error N.
 *
 *   init=!9            nvmlInit fails with DRIVER_NOT_LOADED
 *   count=2            two cards, 0 and 1
 *   0.util=40          and so on; see the functions
 *   0.mig.1.memory_total=...   the MIG instance 1 of card 0
 *   sleep=3            every call takes so many seconds
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int ret_t;
enum { OK = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

typedef struct { char key[32]; } card_t;
typedef card_t *dev_t_;
static card_t cards[16], instances[16][8];
static int initialised;

/* The value of a key as text; 0: the file has none. */
static int look(const char *key, char *value, size_t size) {
  const char *path = getenv("NVML_STANDIN");
  FILE *file = path ? fopen(path, "r") : NULL;
  char line[512];
  int found = 0;
  if (!file) return 0;
  while (fgets(line, sizeof line, file)) {
    char *equals = strchr(line, '=');
    if (!equals) continue;
    *equals = 0;
    if (strcmp(line, key)) continue;
    snprintf(value, size, "%s", equals + 1);
    value[strcspn(value, "\n")] = 0;
    found = 1;
  }
  fclose(file);
  return found;
}

/* The number that a key has, or the error it asks for; NOT_SUPPORTED where it is not given. */
static ret_t number(const char *key, unsigned long long *value) {
  char text[256];
  if (!look(key, text, sizeof text)) return NOT_SUPPORTED;
  if (text[0] == '!') return atoi(text + 1);
  *value = strtoull(text, NULL, 10);
  return OK;
}

static void doze(void) {
  unsigned long long seconds = 0;
  if (number("sleep", &seconds) == OK) sleep((unsigned)seconds);
}

static ret_t field(dev_t_ card, const char *name, unsigned long long *value) {
  char key[96];
  ret_t lost;
  unsigned long long ignored;
  if (!initialised) return UNINITIALIZED;
  doze();
  snprintf(key, sizeof key, "%s.all", card->key);
  lost = number(key, &ignored);
  if (lost != OK && lost != NOT_SUPPORTED) return lost; /* 0.all=!15: the card is lost */
  snprintf(key, sizeof key, "%s.%s", card->key, name);
  return number(key, value);
}

static ret_t small(dev_t_ card, const char *name, unsigned *value) {
  unsigned long long wide = 0;
  ret_t got = field(card, name, &wide);
  if (got == OK) *value = (unsigned)wide;
  return got;
}

ret_t nvmlInitWithFlags(unsigned flags) {
  unsigned long long value = 0;
  ret_t got = number("init", &value);
  (void)flags;
  if (got != OK && got != NOT_SUPPORTED) return got;
  initialised = 1;
  return OK;
}
ret_t nvmlShutdown(void) { initialised = 0; return OK; }

ret_t nvmlDeviceGetCount_v2(unsigned *count) {
  unsigned long long value = 0;
  if (!initialised) return UNINITIALIZED;
  doze();
  if (number("count", &value) != OK) return number("count", &value);
  *count = (unsigned)value;
  return OK;
}
ret_t nvmlDeviceGetHandleByIndex_v2(unsigned index, dev_t_ *card) {
  char key[32];
  unsigned long long ignored;
  ret_t got;
  if (index >= 16) return NOT_FOUND;
  snprintf(cards[index].key, sizeof cards[index].key, "%u", index);
  snprintf(key, sizeof key, "%u.handle", index);
  got = number(key, &ignored);
  if (got != OK && got != NOT_SUPPORTED) return got;
  *card = &cards[index];
  return OK;
}
static ret_t text(dev_t_ card, const char *name, char *out, unsigned size) {
  char key[96], value[256];
  unsigned long long ignored;
  ret_t lost = field(card, "all", &ignored);
  if (lost != OK && lost != NOT_SUPPORTED) return lost;
  snprintf(key, sizeof key, "%s.%s", card->key, name);
  if (!look(key, value, sizeof value)) return NOT_SUPPORTED;
  if (value[0] == '!') return atoi(value + 1);
  snprintf(out, size, "%s", value);
  return OK;
}
ret_t nvmlDeviceGetName(dev_t_ card, char *out, unsigned size) { return text(card, "name", out, size); }
ret_t nvmlDeviceGetUUID(dev_t_ card, char *out, unsigned size) { return text(card, "uuid", out, size); }

typedef struct { unsigned gpu, memory; } utilization_t;
ret_t nvmlDeviceGetUtilizationRates(dev_t_ card, utilization_t *rates) {
  rates->memory = 0;
  return small(card, "util", &rates->gpu);
}
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory2_t;
ret_t nvmlDeviceGetMemoryInfo_v2(dev_t_ card, memory2_t *info) {
  ret_t got;
  unsigned long long old = 0;
  if (field(card, "old_driver", &old) == OK) return 13; /* FUNCTION_NOT_FOUND */
  if ((got = field(card, "memory_total", &info->total)) != OK) return got;
  if ((got = field(card, "memory_used", &info->used)) != OK) return got;
  info->reserved = 0;
  info->free = info->total - info->used;
  return OK;
}
ret_t nvmlDeviceGetMemoryInfo(dev_t_ card, memory_t *info) {
  ret_t got;
  if ((got = field(card, "memory_total", &info->total)) != OK) return got;
  if ((got = field(card, "memory_used", &info->used)) != OK) return got;
  info->free = info->total - info->used;
  return OK;
}
ret_t nvmlDeviceGetTemperature(dev_t_ card, int sensor, unsigned *value) {
  (void)sensor;
  return small(card, "temperature", value);
}
ret_t nvmlDeviceGetPowerUsage(dev_t_ card, unsigned *value) { return small(card, "power", value); }
ret_t nvmlDeviceGetEnforcedPowerLimit(dev_t_ card, unsigned *value) {
  return small(card, "power_limit", value);
}
ret_t nvmlDeviceGetClockInfo(dev_t_ card, int domain, unsigned *value) {
  return small(card, domain == 1 ? "clock_sm" : "clock_memory", value);
}
ret_t nvmlDeviceGetCurrentClocksThrottleReasons(dev_t_ card, unsigned long long *reasons) {
  return field(card, "throttle", reasons);
}
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } process_t;
ret_t nvmlDeviceGetComputeRunningProcesses_v3(dev_t_ card, unsigned *count, process_t *out) {
  unsigned long long pid = 0, used = 0;
  ret_t got = field(card, "process_pid", &pid);
  if (got == NOT_SUPPORTED) { *count = 0; return OK; }
  if (got != OK) return got;
  if (!out || *count < 1) { *count = 1; return INSUFFICIENT_SIZE; }
  field(card, "process_memory", &used);
  memset(out, 0, sizeof *out);
  out->pid = (unsigned)pid;
  out->used = used;
  *count = 1;
  return OK;
}
ret_t nvmlDeviceGetMigMode(dev_t_ card, unsigned *current, unsigned *pending) {
  ret_t got = small(card, "mig_mode", current);
  *pending = *current;
  return got;
}
ret_t nvmlDeviceGetMaxMigDeviceCount(dev_t_ card, unsigned *count) { return small(card, "mig_max", count); }
ret_t nvmlDeviceGetMigDeviceHandleByIndex(dev_t_ card, unsigned index, dev_t_ *out) {
  int number_ = atoi(card->key);
  unsigned long long ignored = 0;
  char name[32];
  if (index >= 8) return NOT_FOUND;
  snprintf(name, sizeof name, "mig.%u.memory_total", index);
  if (field(card, name, &ignored) != OK) return NOT_FOUND;
  snprintf(instances[number_][index].key, sizeof instances[0][0].key, "%d.mig.%u", number_, index);
  *out = &instances[number_][index];
  return OK;
}
typedef union { double d; unsigned u; unsigned long long ull; } value_t;
typedef struct { unsigned long long at; value_t value; } sample_t;
/* samples=N,M: one at each microsecond from 1 on. */
ret_t nvmlDeviceGetSamples(dev_t_ card, int kind, unsigned long long after, unsigned *type,
                           unsigned *count, sample_t *out) {
  char key[96], value[256], *next;
  unsigned long long at = 0, ignored;
  unsigned kept = 0;
  ret_t lost = field(card, "all", &ignored);
  (void)kind;
  if (lost != OK && lost != NOT_SUPPORTED) return lost;
  snprintf(key, sizeof key, "%s.samples", card->key);
  if (!look(key, value, sizeof value)) return NOT_SUPPORTED;
  *type = 1;
  for (next = strtok(value, ","); next; next = strtok(NULL, ",")) {
    at++;
    if (at <= after) continue;
    if (out && kept < *count) { out[kept].at = at; out[kept].value.u = (unsigned)atoi(next); }
    kept++;
  }
  *count = kept;
  return kept ? OK : NOT_FOUND;
}
