/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Boxes by falling score, without those that overlap one chosen before. */
#ifndef ML_F32_NON_MAX_SUPPRESSION_H
#define ML_F32_NON_MAX_SUPPRESSION_H

#include "ml_common.h"

ML_INLINE float ml_least(float a, float b)
{
    return a < b ? a : b;
}

ML_INLINE float ml_greatest(float a, float b)
{
    return a > b ? a : b;
}

/* Least x and y, greatest x and y of a box that is y1, x1, y2, x2, or (center) x, y, width, height. */
ML_INLINE void ml_box_corners(float corners[4], const float *box, int32_t center)
{
    if (center) {
        const float half_width = box[2] / 2.0f;
        const float half_height = box[3] / 2.0f;
        corners[0] = box[0] - half_width;
        corners[1] = box[1] - half_height;
        corners[2] = box[0] + half_width;
        corners[3] = box[1] + half_height;
    } else {
        corners[0] = ml_least(box[1], box[3]);
        corners[1] = ml_least(box[0], box[2]);
        corners[2] = ml_greatest(box[1], box[3]);
        corners[3] = ml_greatest(box[0], box[2]);
    }
}

/* Whether two boxes, as corners, share more than that part of their union. */
ML_INLINE int32_t ml_boxes_overlap(const float a[4], const float b[4], float overlap)
{
    const float width = ml_least(a[2], b[2]) - ml_greatest(a[0], b[0]);
    const float height = ml_least(a[3], b[3]) - ml_greatest(a[1], b[1]);
    const float common = width * height;
    const float area = (a[2] - a[0]) * (a[3] - a[1]);
    const float other = (b[2] - b[0]) * (b[3] - b[1]);
    const float both = (area + other) - common;
    if (!(width > 0.0f && height > 0.0f && common > 0.0f && area > 0.0f && other > 0.0f && both > 0.0f)) {
        return 0;
    }
    return common / both > overlap;
}

/*
 * Rows of image, class and box: images * classes * limit of them, where limit is at most count; rows left over hold -1.
 * left has a byte for each box, nonzero as long as it can be chosen. A score that is no number is never chosen.
 */
ML_INLINE void f32_non_max_suppression__portable(int64_t *ML_RESTRICT y, const float *ML_RESTRICT boxes,
    const float *ML_RESTRICT scores, uint8_t *ML_RESTRICT left, int32_t images, int32_t classes, int32_t count,
    int32_t limit, float overlap, int32_t thresholded, float threshold, int32_t center)
{
    int64_t *row = y;
    for (int32_t pair = 0; pair < images * classes; ++pair) {
        const float *score = scores + pair * count;
        const float *image = boxes + (pair / classes) * count * 4;
        for (int32_t i = 0; i < count; ++i) {
            left[i] = (uint8_t)(thresholded ? score[i] > threshold : score[i] == score[i]);
        }
        for (int32_t turn = 0; turn < limit; ++turn) {
            float chosen[4];
            int32_t best = -1;
            for (int32_t i = 0; i < count; ++i) {
                if (left[i] && (best < 0 || score[i] > score[best])) {
                    best = i;
                }
            }
            if (best < 0) {
                break;
            }
            row[0] = pair / classes;
            row[1] = pair % classes;
            row[2] = best;
            row += 3;
            left[best] = 0;
            ml_box_corners(chosen, image + best * 4, center);
            for (int32_t i = 0; i < count; ++i) {
                float corners[4];
                if (!left[i]) {
                    continue;
                }
                ml_box_corners(corners, image + i * 4, center);
                if (ml_boxes_overlap(corners, chosen, overlap)) {
                    left[i] = 0;
                }
            }
        }
    }
    for (const int64_t *end = y + images * classes * limit * 3; row < end; ++row) {
        *row = -1;
    }
}

#endif
