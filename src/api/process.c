// SPDX-License-Identifier: Apache-2.0
// Makes the one context of the process, and takes it away from a forked child: the threads of the
// library do not exist there, and what it inherited is shared with the parent.
#include "api/process.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "api/device_handles.h"
#include "api/service.h"
#include "api/stores.h"
#include "base/err.h"

extern char **environ;

static struct {
    pthread_mutex_t lock; /* guards making it; held across fork, so that a child finds it whole */
    _Atomic bool ready;
    _Atomic bool forked;      /* and has not begun anew */
    _Atomic bool level_set;   /* by smem_set_log_level */
    struct mf_err_rec failed; /* code 0: none */
    struct mf_log log;
    struct mf_process process;
} self = {.lock = PTHREAD_MUTEX_INITIALIZER, .log = MF_LOG_INIT};

static pthread_once_t atfork_once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_mutex_lock(&self.lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&self.lock);
}

static void after_fork_child(void)
{
    if (self.ready) {
        self.forked = true;
        self.ready = false;
        mf_service_after_fork();
        mf_stores_after_fork();
        mf_api_devices_after_fork();
        mf_dev_registry_close_fds(self.process.devices);
    }
    pthread_mutex_unlock(&self.lock);
}

static void register_atfork(void)
{
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

/* The log level first: it decides whether what the other variables have to say is printed. */
static int make(struct mf_process *process)
{
    mf_env_init_real(&process->env, &self.log);
    mf_config_defaults(&process->config);
    int rc = mf_config_load(&process->config, environ, NULL);
    if (rc) {
        return rc;
    }
    if (!self.level_set) {
        self.log.level = (int)mf_config_u64(&process->config, MF_OPT_LOG_LEVEL);
    }
    mf_config_report(environ, &self.log);
    return mf_dev_registry_create(&process->env, &process->config, &process->devices);
}

static int make_once(void)
{
    pthread_once(&atfork_once, register_atfork);
    pthread_mutex_lock(&self.lock);
    if (!self.ready && self.failed.code == 0) {
        if (make(&self.process)) {
            mf_err_save(&self.failed);
        } else {
            self.forked = false;
            self.ready = true;
        }
    }
    pthread_mutex_unlock(&self.lock);
    if (!self.ready) {
        mf_err_restore(&self.failed);
        return self.failed.code;
    }
    return SMEM_OK;
}

int mf_process_get(struct mf_process **out)
{
    *out = NULL;
    if (self.forked) {
        return mf_err(SMEM_NOT_INIT,
                      "this process was forked after MemFabric was used: use it in the parent, or "
                      "call smem_init here to begin anew");
    }
    return mf_process_restart(out);
}

int mf_process_restart(struct mf_process **out)
{
    int rc = self.ready ? SMEM_OK : make_once();
    *out = rc == SMEM_OK ? &self.process : NULL;
    return rc;
}

bool mf_process_forked(void)
{
    return self.forked;
}

struct mf_log *mf_process_log(void)
{
    return &self.log;
}

void mf_process_set_log_level(int level)
{
    self.level_set = true;
    self.log.level = level;
}
