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
	"fmt"
	"slices"
	"strings"
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

// Select returns the workloads that a comma-separated list of IDs names, in
// the order of the list; an empty list names the headline.
func Select(list string) ([]Workload, error) {
	if strings.TrimSpace(list) == "" {
		return Headline(), nil
	}
	var out []Workload
	for id := range strings.SplitSeq(list, ",") {
		id = strings.ToUpper(strings.TrimSpace(id))
		i := slices.IndexFunc(headline, func(w Workload) bool { return w.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("workload %q: unknown, there are %s", id, ids(headline))
		}
		if slices.ContainsFunc(out, func(w Workload) bool { return w.ID == id }) {
			return nil, fmt.Errorf("workload %q: named twice", id)
		}
		out = append(out, headline[i])
	}
	return out, nil
}

func ids(ws []Workload) string {
	names := make([]string, len(ws))
	for i, w := range ws {
		names[i] = w.ID
	}
	return strings.Join(names, ", ")
}

// fillBlock is the size of a fill's writes.
const fillBlock = mib

// Fill is the load that writes a whole region once, before something is read
// from it; it is never timed.
func Fill() Workload {
	return Workload{ID: "fill", Name: "fill", BlockSize: fillBlock, Depth: 4}
}
