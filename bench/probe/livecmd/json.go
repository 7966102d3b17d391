package livecmd

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"sealbay/bench/probe"
)

// document is the form of --json, version 1.
type document struct {
	Version   int     `json:"version"`
	Device    string  `json:"device"`
	Seconds   float64 `json:"seconds"`
	Unmatched uint64  `json:"unmatched"`
	Rows      []row   `json:"rows"`
}

type row struct {
	Op     string   `json:"op"`
	Stage  string   `json:"stage"`
	Count  uint64   `json:"count"`
	MeanUS float64  `json:"mean_us"`
	MaxUS  float64  `json:"max_us"`
	P50US  *float64 `json:"p50_us"` // null with too few samples
	P90US  *float64 `json:"p90_us"`
	P99US  *float64 `json:"p99_us"`
	P999US *float64 `json:"p99_9_us"`
	// Buckets that hold anything, as [least ns, count].
	Buckets [][2]uint64 `json:"buckets"`
}

func newDocument(device string, elapsed time.Duration, s probe.Snapshot) document {
	d := document{Version: 1, Device: device, Seconds: elapsed.Seconds(), Unmatched: s.Unmatched, Rows: []row{}}
	for op := range probe.LiveOps {
		for stage := range probe.LiveStages {
			if h := &s.Histograms[stage][op]; h.Count > 0 {
				d.Rows = append(d.Rows, newRow(op, stage, h))
			}
		}
	}
	return d
}

func writeJSON(path, device string, elapsed time.Duration, s probe.Snapshot) error {
	text, err := json.MarshalIndent(newDocument(device, elapsed, s), "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func newRow(op probe.LiveOp, stage probe.LiveStage, h *probe.Histogram) row {
	r := row{Op: op.String(), Stage: stage.String(), Count: h.Count, MeanUS: h.Mean() / 1e3, MaxUS: float64(h.Max) / 1e3}
	for q, to := range map[float64]**float64{0.5: &r.P50US, 0.9: &r.P90US, 0.99: &r.P99US, 0.999: &r.P999US} {
		if ns, ok := h.Quantile(q); ok {
			us := ns / 1e3
			*to = &us
		}
	}
	for i, n := range h.Counts {
		if low, _ := probe.Bounds(i); n > 0 {
			r.Buckets = append(r.Buckets, [2]uint64{low, n})
		}
	}
	return r
}
