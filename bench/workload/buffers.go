package workload

import (
	"fmt"
	"math/rand/v2"

	"sealbay/blockcrypt/blockdev"
)

// poolSize is how much incompressible content writes are taken from, at least:
// more than a second-level cache holds, so that writes do not profit from a
// source that real data would not have.
const poolSize = 4 * mib

// Buffers is the memory of a run: page-aligned and outside the Go heap. All
// modes use the same.
type Buffers struct {
	arena    *blockdev.Arena
	pool     []byte // writes come from here
	pristine []byte // the pool without stamps
	read     []byte
}

// NewBuffers makes room for blocks of up to block bytes, depth in flight, and
// fills the pool from seed. A fill needs no more than its own.
func NewBuffers(block, depth int, seed uint64) (*Buffers, error) {
	fill := Fill()
	read := max(block*depth, fill.BlockSize)
	pool := max(block*depth, fill.BlockSize*fill.Depth, poolSize)
	arena, err := blockdev.NewArena(pool + read)
	if err != nil {
		return nil, fmt.Errorf("memory for the bench: %w", err)
	}
	b := &Buffers{arena: arena, pool: arena.Cut(pool), read: arena.Cut(read), pristine: make([]byte, pool)}
	var key [32]byte
	for i := range key {
		key[i] = byte(mix(seed+uint64(i)) >> 32)
	}
	// ChaCha8's Read never fails.
	_, _ = rand.NewChaCha8(key).Read(b.pristine)
	return b, nil
}

// Close releases the memory.
func (b *Buffers) Close() error { return b.arena.Close() }
