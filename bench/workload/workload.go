// Package workload drives a blockdev.Queue with a described load and times
// every request.
//
// A Workload is a value; the loop that runs it is one and the same for every
// device, plain or encrypted, and for every depth. It promises that nothing is
// allocated and nothing is printed while the clock runs, that all modes get
// the same addresses in the same order with the same incompressible content,
// and that a device which loses, swaps, repeats or garbles blocks makes the
// run fail (see Stamp). It does not decide what a result means.
package workload

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sealbay/bench/internal/size"
)

// Workload describes a closed loop: Depth requests are kept in flight, each
// followed by the next as soon as it completes.
type Workload struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Reads     int    `json:"read_percent"` // 100: reads only, 0: writes only
	BlockSize int    `json:"block_bytes"`
	Depth     int    `json:"queue_depth"`
	Random    bool   `json:"random"` // every block once a pass, in shuffled order
}

// ReadsData reports whether the workload reads, so that its region must be
// filled first.
func (w Workload) ReadsData() bool { return w.Reads > 0 }

// Op is "read" or "write".
func (w Workload) Op() string {
	if w.ReadsData() {
		return "read"
	}
	return "write"
}

// Pattern is "random" or "sequential".
func (w Workload) Pattern() string {
	if w.Random {
		return "random"
	}
	return "sequential"
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// headline is W1 to W4: the four single-stream loads that the claim about the
// cost of encryption speaks of.
var headline = []Workload{
	{ID: "W1", Name: "sequential read 1 MiB", Reads: 100, BlockSize: mib, Depth: 1},
	{ID: "W2", Name: "sequential write 1 MiB", Reads: 0, BlockSize: mib, Depth: 1},
	{ID: "W3", Name: "random read 4 KiB", Reads: 100, BlockSize: 4 * kib, Depth: 1, Random: true},
	{ID: "W4", Name: "random write 4 KiB", Reads: 0, BlockSize: 4 * kib, Depth: 1, Random: true},
}

// Headline returns W1 to W4.
func Headline() []Workload { return slices.Clone(headline) }

// Select returns the workloads that a comma-separated list names, in its
// order; an empty list names the headline. A name is an ID, or PATTERN:SIZE:DEPTH
// such as randread:128KiB:8, the patterns being those of fio.
func Select(list string) ([]Workload, error) {
	if strings.TrimSpace(list) == "" {
		return Headline(), nil
	}
	var out []Workload
	for name := range strings.SplitSeq(list, ",") {
		w, err := find(strings.TrimSpace(name))
		if err != nil {
			return nil, fmt.Errorf("workload %q: %w", name, err)
		}
		if slices.ContainsFunc(out, func(o Workload) bool { return o.ID == w.ID }) {
			return nil, fmt.Errorf("workload %q: named twice", name)
		}
		out = append(out, w)
	}
	return out, nil
}

func find(name string) (Workload, error) {
	for _, w := range headline {
		if strings.EqualFold(w.ID, name) {
			return w, nil
		}
	}
	parts := strings.Split(name, ":")
	if len(parts) != 3 {
		return Workload{}, errors.New("unknown: want W1, W2, W3, W4, or one like randread:128KiB:8")
	}
	w, ok := patterns[parts[0]]
	if !ok {
		return w, fmt.Errorf("pattern %q: want read, write, randread or randwrite", parts[0])
	}
	block, err := size.Parse(parts[1])
	if err != nil {
		return w, err
	}
	if block < 4*kib || block > maxBlock || block&(block-1) != 0 {
		return w, fmt.Errorf("blocks of %s: want a power of two from 4KiB to 4MiB", parts[1])
	}
	depth, err := strconv.Atoi(parts[2])
	if err != nil || depth < 1 || depth > maxDepth || int64(depth)*block > maxFlight {
		return w, fmt.Errorf("queue depth %s: want 1 to %d, and at most 64MiB in flight", parts[2], maxDepth)
	}
	w.ID, w.BlockSize, w.Depth = name, int(block), depth
	w.Name = fmt.Sprintf("%s %s %s", w.Pattern(), w.Op(), size.String(block))
	return w, nil
}

// patterns are fio's words for what a workload does.
var patterns = map[string]Workload{
	"read": {Reads: 100}, "write": {}, "randread": {Reads: 100, Random: true}, "randwrite": {Random: true},
}

// Bounds of a workload that is described.
const (
	maxBlock  = 4 * mib
	maxDepth  = 256
	maxFlight = 64 * mib // bytes
)

// fillBlock is the size of a fill's writes.
const fillBlock = mib

// Fill is the load that writes a whole region once, before something is read
// from it; it is never timed.
func Fill() Workload {
	return Workload{ID: "fill", Name: "fill", BlockSize: fillBlock, Depth: 4}
}
