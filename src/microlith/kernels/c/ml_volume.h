/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Windows over up to three spatial axes of a tensor of batch x depth x height x width x channels. */
#ifndef ML_VOLUME_H
#define ML_VOLUME_H

#include "ml_common.h"

/* One spatial axis: elements of the input, taps, and how they lie. */
typedef struct {
    int32_t size;
    int32_t kernel;
    int32_t stride;
    int32_t dilation;
    int32_t pad; /* elements before the first */
} ml_axis;

/* Element of the input under a tap at an output place, or -1 outside of it. Transposed, it is the element whose product
 * with that tap is added to that output place, if there is one. */
ML_INLINE int32_t ml_source(const ml_axis *axis, int32_t place, int32_t tap, int32_t transposed)
{
    int32_t at;
    if (transposed) {
        at = place + axis->pad - tap * axis->dilation;
        if (at < 0 || at % axis->stride != 0) {
            return -1;
        }
        at /= axis->stride;
    } else {
        at = place * axis->stride - axis->pad + tap * axis->dilation;
    }
    return at >= 0 && at < axis->size ? at : -1;
}

#endif
