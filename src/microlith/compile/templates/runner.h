/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
#ifndef RUNNER_H
#define RUNNER_H

#include "@NAME@.h"

@NAME@_ctx *mlrun_context(void);
int32_t mlrun_init(void *arena, uint32_t arena_bytes);
uint32_t mlrun_arena_bytes(void);
uint32_t mlrun_inputs(void);
void *mlrun_input(uint32_t index);
uint32_t mlrun_input_bytes(uint32_t index);
uint32_t mlrun_outputs(void);
void *mlrun_output(uint32_t index);
uint32_t mlrun_output_bytes(uint32_t index);
int32_t mlrun_run(void);
@RESET_DECLARATION@
#endif
