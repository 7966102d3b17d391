// Package cipher measures ciphers alone, in process, without a drive: our
// AES-XTS in every implementation beside golang.org/x/crypto/xts, Go's GCM,
// minio/sio, memmove and the bound that the processor's AES unit sets.
//
// A Plan is a value, Run turns it into a Result, printing is elsewhere. All
// subjects take turns in random order in every round, and ratios are taken
// within a round, so that a processor that changes its clock or shares its
// memory slows all of them alike. What cannot be measured is left out and
// named in Result.Notes.
package cipher

import (
	"fmt"
	"slices"
	"time"

	"sealbay/blockcrypt/xts"
)

// Set is where the data lies.
type Set string

// The working sets.
const (
	// Cache: buffers of 128 KiB that stay in the second-level cache.
	Cache Set = "cache"
	// Single: as Cache, but one sector a call, as a small request has it.
	Single Set = "single"
	// Request: calls of 128 KiB that walk through buffers at least twice as
	// large as the last-level cache, as the requests of a volume do.
	Request Set = "request"
	// Memory: the same with calls of 1 MiB, long enough to write around the
	// caches, as memmove does from that length on.
	Memory Set = "memory"
)

var sets = []Set{Cache, Single, Request, Memory}

// large reports whether a set walks through memory.
func (s Set) large() bool { return s == Request || s == Memory }

// Op is the direction.
type Op string

// The directions. Copy and Bound are those of the yardsticks.
const (
	Encrypt Op = "encrypt"
	Decrypt Op = "decrypt"
	Copy    Op = "copy"
	Bound   Op = "bound"
)

// Plan says what to measure.
type Plan struct {
	Rounds  int           `json:"rounds"`
	Slice   time.Duration `json:"slice_ns"` // about how long one sample takes
	Seed    uint64        `json:"seed"`     // of keys, data and order
	KeyBits []int         `json:"key_bits"` // of the AES key: 128, 256
	Ops     []Op          `json:"ops"`
	Sectors []int         `json:"sectors"` // bytes
	Sets    []Set         `json:"working_sets"`
	Impls   []string      `json:"impls"` // of package xts; all must run here
}

// DefaultPlan is the whole table: some 20 seconds.
func DefaultPlan() Plan {
	return Plan{
		Rounds:  51,
		Slice:   200 * time.Microsecond,
		Seed:    1,
		KeyBits: []int{256, 128},
		Ops:     []Op{Encrypt, Decrypt},
		Sectors: []int{512, 4096, 65536},
		Sets:    sets,
		Impls:   supported(),
	}
}

func supported() (names []string) {
	for _, im := range xts.Implementations() {
		if im.Supported {
			names = append(names, im.Name)
		}
	}
	return names
}

func (p Plan) validate() error {
	if p.Rounds < 1 || p.Slice <= 0 {
		return fmt.Errorf("plan of %d rounds with samples of %v: both must be positive", p.Rounds, p.Slice)
	}
	for _, n := range p.Sectors {
		if n <= 0 || cacheBytes%n != 0 {
			return fmt.Errorf("sector of %d bytes: must divide the buffer of %d bytes", n, cacheBytes)
		}
	}
	for _, set := range p.Sets {
		if !slices.Contains(sets, set) {
			return fmt.Errorf("working set %q: want one of %s", set, sets)
		}
	}
	for _, bits := range p.KeyBits {
		if bits != 128 && bits != 256 {
			return fmt.Errorf("AES key of %d bits: want 128 or 256", bits)
		}
	}
	return nil
}
