// Package stats turns what was measured into what may be said: latency
// histograms, the ratio of two modes with a bootstrap interval over rounds,
// and the verdict against a line. It knows nothing of devices; everything in
// it is a pure function of its arguments, random numbers included: they come
// from a seed that the report prints.
package stats

import (
	"fmt"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Range and resolution of a Hist. Values below are kept to 1 ns up to 2 us and
// to one part in 1000 above.
const (
	histLow    = 1                       // ns
	histHigh   = int64(60 * time.Second) // ns
	histDigits = 3
)

// Hist is a latency histogram in nanoseconds. Recording does not allocate.
type Hist struct {
	h   *hdr.Histogram
	max int64 // ns, exact: a histogram only knows the bucket
}

// NewHist returns an empty histogram.
func NewHist() *Hist { return &Hist{h: hdr.New(histLow, histHigh, histDigits)} }

// Record adds one latency in nanoseconds. What lies outside 1 ns to 60 s is
// counted at the nearer end; Max stays exact.
func (h *Hist) Record(ns int64) {
	h.max = max(h.max, ns)
	// Inside the range RecordValue cannot fail.
	_ = h.h.RecordValue(min(max(ns, histLow), histHigh))
}

// Count returns how many latencies were recorded.
func (h *Hist) Count() int64 { return h.h.TotalCount() }

// Max returns the largest latency in nanoseconds, exactly as recorded.
func (h *Hist) Max() int64 { return h.max }

// Mean returns the mean latency in nanoseconds, to the histogram's resolution.
func (h *Hist) Mean() float64 { return h.h.Mean() }

// Merge adds what o holds.
func (h *Hist) Merge(o *Hist) {
	h.h.Merge(o.h) // same geometry: nothing is dropped
	h.max = max(h.max, o.max)
}

// Reset empties the histogram.
func (h *Hist) Reset() {
	h.h.Reset()
	h.max = 0
}

// Clone returns a copy with its own storage.
func (h *Hist) Clone() *Hist { return &Hist{h: h.h.Clone(), max: h.max} }

// beyond is how many latencies must lie beyond a percentile of the far tail
// before it is told at all; with fewer it is a lottery ticket.
const beyond = 10

// Enough reports whether the histogram holds samples enough to tell quantile
// q: any for the median, one beyond it up to p99, ten beyond it further out.
func (h *Hist) Enough(q float64) bool {
	need := 1.0
	switch {
	case q <= 0.5:
		return h.Count() > 0
	case q > 0.99:
		need = beyond
	}
	// 1e-9 forgives the binary form of 0.999.
	return float64(h.Count())*(1-q) >= need-1e-9
}

// Quantile returns the latency in nanoseconds that a share q of the samples
// does not exceed, and false where Enough says that there are too few.
func (h *Hist) Quantile(q float64) (int64, bool) {
	if h.Count() == 0 || !h.Enough(q) {
		return 0, false
	}
	return min(h.h.ValueAtQuantile(q*100), h.max), true
}

// Encode returns the histogram in HdrHistogram's V2 compressed base64 form,
// which every HdrHistogram library and plotter reads.
func (h *Hist) Encode() (string, error) {
	b, err := h.h.EncodeV2()
	if err != nil {
		return "", fmt.Errorf("encoding a histogram: %w", err)
	}
	return string(b), nil
}

// Decode reads what Encode wrote. The exact maximum is not part of that form:
// Max of the result is that of its bucket.
func Decode(s string) (*Hist, error) {
	h, err := hdr.Decode([]byte(s))
	if err != nil {
		return nil, fmt.Errorf("decoding a histogram: %w", err)
	}
	return &Hist{h: h, max: h.Max()}, nil
}
