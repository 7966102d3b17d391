package rest

import (
	"context"
	"time"
)

// Prober watches the latency of block devices, ours or not. It is a part of
// Node.
type Prober interface {
	// StartProbe returns once requests are being counted.
	StartProbe(context.Context, ProbeSelect) (Probe, error)
	// Probes answers from memory, with figures that are about a second old.
	Probes() ProbeList
	// StopProbe returns what was counted in all, once nothing is left running.
	StopProbe(context.Context, ProbeSelect) (ProbeList, error)
}

// ProbeSelect names a block device by its path. To stop, none means all.
type ProbeSelect struct {
	Device string `json:"device,omitempty"`
}

// ProbeList answers probe_status and probe_stop, in the order of paths.
type ProbeList struct {
	Probes []Probe `json:"probes"`
}

// Probe is one watched block device and what was counted since it began.
type Probe struct {
	Device       string                           `json:"device"`
	Problem      string                           `json:"problem,omitempty"` // why it counts no more
	RunningSince time.Time                        `json:"running_since"`
	Seconds      float64                          `json:"seconds"`              // from the beginning to the newest figures
	Operations   map[string]map[string]ProbeStage `json:"operations,omitempty"` // by operation ("read"), then stage ("queue", "device")
	Unmatched    uint64                           `json:"unmatched"`            // requests whose beginning was not seen
}

// ProbeStage is the latency of one operation in one stage, in microseconds. A
// percentile with too few requests beyond it is left out.
type ProbeStage struct {
	Count  uint64   `json:"count"`
	MeanUS float64  `json:"mean_us"`
	MaxUS  float64  `json:"max_us"`
	P50US  *float64 `json:"p50_us,omitempty"`
	P90US  *float64 `json:"p90_us,omitempty"`
	P99US  *float64 `json:"p99_us,omitempty"`
	P999US *float64 `json:"p99_9_us,omitempty"`
}

func whatProbe(p ProbeSelect) string {
	if p.Device == "" {
		return "every device"
	}
	return "device " + p.Device
}
