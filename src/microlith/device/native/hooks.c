/* SPDX-License-Identifier: Apache-2.0 OR MIT-0 */
/* Hooks of the emulator: what block_counter.py does at every basic block, and the check of aligned accesses. */
#include <stddef.h>
#include <stdint.h>

#define ML_NOWHERE UINT64_MAX

typedef struct {
    uint32_t address;
    uint32_t bytes;
    uint32_t tally;
    uint32_t unused;
    uint64_t times;
} ml_block;

typedef struct {
    uint64_t fall_through;
    uint64_t return_address;
    uint64_t *taken;
    const uint32_t *entries;
    ml_block *blocks;
    uint32_t *slots;
    void (*cross)(uint32_t address);
    void (*grow)(void);
    uint32_t tally;
    uint32_t entry_count;
    uint32_t used;
    uint32_t slot_count;
    uint32_t last;
} ml_counter;

/* Slots hold positions of blocks from 1 on; there are a power of two of them, at most half of which are taken. */
static uint32_t *ml_slot(const ml_counter *counter, uint32_t address, uint32_t bytes, uint32_t tally)
{
    const uint32_t mask = counter->slot_count - 1u;
    uint32_t at = (address * 2654435761u ^ bytes * 40503u ^ tally * 2246822519u) & mask;
    for (;; at = (at + 1u) & mask) {
        uint32_t *slot = counter->slots + at;
        if (*slot == 0u) {
            return slot;
        }
        const ml_block *block = counter->blocks + (*slot - 1u);
        if (block->address == address && block->bytes == bytes && block->tally == tally) {
            return slot;
        }
    }
}

static int ml_is_entry(const ml_counter *counter, uint32_t address)
{
    uint32_t low = 0u, high = counter->entry_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2u;
        if (counter->entries[middle] < address) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low < counter->entry_count && counter->entries[low] == address;
}

/* A basic block is entered. Tally 0 is what runs outside of all layers. */
void ml_on_block(void *engine, uint64_t address, uint32_t bytes, ml_counter *counter)
{
    (void)engine;
    if (address != counter->fall_through && counter->fall_through != ML_NOWHERE) {
        counter->taken[counter->tally] += 1u;
    }
    counter->fall_through = address + bytes;
    if (address == counter->return_address || (counter->tally == 0u && ml_is_entry(counter, (uint32_t)address))) {
        counter->cross((uint32_t)address);
    }
    uint32_t *slot = ml_slot(counter, (uint32_t)address, bytes, counter->tally);
    if (*slot == 0u) {
        if (2u * (counter->used + 1u) > counter->slot_count) {
            counter->grow();
            slot = ml_slot(counter, (uint32_t)address, bytes, counter->tally);
        }
        ml_block *block = counter->blocks + counter->used;
        block->address = (uint32_t)address;
        block->bytes = bytes;
        block->tally = counter->tally;
        block->times = 0u;
        counter->used += 1u;
        *slot = counter->used;
    }
    counter->last = *slot - 1u;
    counter->blocks[counter->last].times += 1u;
}

/* Fill empty slots with the blocks that there are. */
void ml_place(ml_counter *counter)
{
    for (uint32_t i = 0u; i < counter->used; i++) {
        const ml_block *block = counter->blocks + i;
        *ml_slot(counter, block->address, block->bytes, block->tally) = i + 1u;
    }
}

typedef struct {
    int (*read)(void *engine, int reg, void *value);
    int (*stop)(void *engine);
    uint32_t found;
    uint32_t address;
    uint32_t bytes;
    uint32_t pc;
} ml_misaligned;

typedef struct {
    ml_misaligned *result;
    int32_t registers[2];
    uint32_t register_count;
    uint32_t bytes;
    int32_t offset;
} ml_access;

/* An instruction is about to access memory at the sum of its registers and its offset. */
void ml_on_access(void *engine, uint64_t pc, uint32_t size, const ml_access *access)
{
    ml_misaligned *result = access->result;
    uint32_t address = (uint32_t)access->offset;
    (void)size;
    for (uint32_t i = 0u; i < access->register_count; i++) {
        uint32_t value = 0u;
        (void)result->read(engine, access->registers[i], &value);
        address += value;
    }
    if (address % access->bytes != 0u) {
        result->found = 1u;
        result->address = address;
        result->bytes = access->bytes;
        result->pc = (uint32_t)pc;
        (void)result->stop(engine);
    }
}
