package probe

import "math/bits"

// LiveStage is a leg of the way that Live can see.
type LiveStage int

// The stages of Live, as Queue and Device.
const (
	LiveQueue LiveStage = iota
	LiveDevice
	LiveStages
)

// String returns the stage's name.
func (s LiveStage) String() string { return [...]string{"queue", "device"}[s] }

// LiveOp is a kind of request.
type LiveOp int

// The kinds that Live tells apart.
const (
	LiveRead LiveOp = iota
	LiveWrite
	LiveFlush
	LiveDiscard
	LiveOther
	LiveOps
)

// String returns the kind's name.
func (o LiveOp) String() string {
	return [...]string{"read", "write", "flush", "discard", "other"}[o]
}

// Snapshot is what Live had counted at one moment.
type Snapshot struct {
	Histograms [LiveStages][LiveOps]Histogram
	Unmatched  uint64 // requests whose beginning or end was not seen
}

// Since returns what was counted after before. Max stays that of the whole
// time: a maximum has no difference.
func (s Snapshot) Since(before Snapshot) Snapshot {
	for stage := range s.Histograms {
		for op := range s.Histograms[stage] {
			s.Histograms[stage][op].subtract(&before.Histograms[stage][op])
		}
	}
	s.Unmatched -= before.Unmatched
	return s
}

// Buckets is the number of buckets of a Histogram.
const Buckets = 320

// subBits: each power of two is cut into 8 buckets, 12.5 % wide at most.
const subBits = 3

// Histogram counts latencies in nanoseconds, in buckets that grow with the
// latency. It is filled by the kernel (bpf/live.c).
type Histogram struct {
	Count  uint64
	Sum    uint64 // ns
	Max    uint64 // ns
	Counts [Buckets]uint64
}

// Bounds returns the least latency of bucket i and that of the next, in
// nanoseconds.
func Bounds(i int) (low, high uint64) { return bound(i), bound(i + 1) }

func bound(i int) uint64 {
	if i < 1<<subBits {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return uint64(1<<subBits+i&(1<<subBits-1)) << shift
}

// bucket is the kernel's bucket_of.
func bucket(ns uint64) int {
	if ns < 1<<subBits {
		return int(ns)
	}
	log := bits.Len64(ns) - 1
	return min((log-subBits+1)<<subBits+int(ns>>(log-subBits))&(1<<subBits-1), Buckets-1)
}

// Mean returns the mean latency in nanoseconds, 0 of nothing.
func (h *Histogram) Mean() float64 {
	if h.Count == 0 {
		return 0
	}
	return float64(h.Sum) / float64(h.Count)
}

// Quantile returns the latency in nanoseconds that a share q does not exceed:
// the middle of its bucket, so up to 6 % off. False where fewer than one
// sample lies beyond.
func (h *Histogram) Quantile(q float64) (float64, bool) {
	if h.Count == 0 || float64(h.Count)*(1-q) < 1-1e-9 {
		return 0, false
	}
	rank, seen := q*float64(h.Count), uint64(0)
	for i, n := range h.Counts {
		if seen += n; n > 0 && float64(seen) >= rank {
			low, high := Bounds(i)
			return min(float64(low+high-1)/2, float64(h.Max)), true
		}
	}
	return float64(h.Max), true
}

func (h *Histogram) subtract(o *Histogram) {
	h.Count -= o.Count
	h.Sum -= o.Sum
	for i := range h.Counts {
		h.Counts[i] -= o.Counts[i]
	}
}
