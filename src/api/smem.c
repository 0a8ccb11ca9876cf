// SPDX-License-Identifier: Apache-2.0
// smem.h: the process's options, log and alarms, and the calling thread's last error.
#include "smem.h"

#include <stdio.h>

#include "api/process.h"
#include "base/err.h"

uint32_t smem_get_abi_version(void)
{
    return 0x00010003;
}

int32_t smem_init(uint32_t flags)
{
    struct mf_process *process = NULL;
    (void)flags;
    int rc = mf_process_restart(&process);
    return rc == SMEM_OK ? rc : mf_err_in(rc, "smem_init");
}

void smem_uninit(void)
{
}

int32_t smem_set_extern_logger(void (*func)(int level, const char *msg))
{
    if (func == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "smem_set_extern_logger: func is NULL");
    }
    mf_process_log()->sink = func;
    return SMEM_OK;
}

_Static_assert((int)MF_ALARM_STORE_LOST == (int)SMEM_ALARM_STORE_LOST &&
                   (int)MF_ALARM_PEER_DEAD == (int)SMEM_ALARM_PEER_DEAD &&
                   (int)MF_ALARM_SELF_EXPIRED == (int)SMEM_ALARM_SELF_EXPIRED &&
                   (int)MF_ALARM_MEMORY_SHORT == (int)SMEM_ALARM_MEMORY_SHORT,
               "the codes of the log are those of smem.h");

int32_t smem_set_extern_alarm(void (*alarm)(uint16_t code, const char *msg),
                              void (*resume)(uint16_t code))
{
    if (alarm == NULL || resume == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "smem_set_extern_alarm: %s is NULL",
                      alarm == NULL ? "alarm" : "resume");
    }
    mf_process_log()->alarm = alarm;
    mf_process_log()->resume = resume;
    return SMEM_OK;
}

int32_t smem_set_log_level(int level)
{
    if (level < MF_LOG_DEBUG || level > MF_LOG_TRACE) {
        return mf_err(SMEM_INVALID_PARAM, "smem_set_log_level: level %d is not 0..5", level);
    }
    mf_process_set_log_level(level);
    return SMEM_OK;
}

int32_t smem_config_store_set_backend_op(const smem_conf_store_backend_op_t *op)
{
    static const char call[] = "smem_config_store_set_backend_op";
    if (op == NULL || op->distributed == NULL || op->create == NULL || op->destroy == NULL ||
        op->put == NULL || op->get == NULL || op->remove == NULL || op->lock == NULL ||
        op->try_lock == NULL || op->unlock == NULL) {
        return mf_err(SMEM_INVALID_PARAM, "%s: %s", call,
                      op == NULL ? "op is NULL" : "a required function of op is NULL");
    }
    return mf_err(SMEM_ERROR, "%s: reg:// stores are not supported in this version, only tcp://",
                  call);
}

const char *smem_get_last_err_msg(void)
{
    return mf_err_msg();
}

const char *smem_get_and_clear_last_err_msg(void)
{
    return mf_err_take();
}

int32_t smem_get_last_err_code(void)
{
    return mf_err_code();
}
