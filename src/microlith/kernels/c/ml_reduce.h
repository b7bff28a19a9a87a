/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Names of the reductions. */
#ifndef ML_REDUCE_H
#define ML_REDUCE_H

#include "ml_common.h"

enum {
    ML_REDUCE_SUM,
    ML_REDUCE_MAX,
    ML_REDUCE_MIN,
    ML_REDUCE_PROD,
    ML_REDUCE_L1,
    ML_REDUCE_SUM_SQUARE,
    ML_REDUCE_L2,
    ML_REDUCE_LOG_SUM,
    ML_REDUCE_LOG_SUM_EXP
};

#endif
