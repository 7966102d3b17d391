package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// live is a running "sealbench probe".
type live struct {
	*watcher
	json string
}

func startLive(ctx context.Context, bench, dev, path string) (*live, error) {
	// It prints a line each interval, the first when it is attached.
	w, err := start(ctx, "s", bench, "probe", "--device", dev, "--interval", "100ms", "--json", path)
	return &live{w, path}, err
}

// device returns what it wrote of the stage.
func (l *live) device(op string) (seen, error) {
	text, err := os.ReadFile(l.json)
	if err != nil {
		return seen{}, err
	}
	return parseLive(text, op)
}

func parseLive(text []byte, op string) (seen, error) {
	var d struct {
		Rows []struct {
			Op, Stage string
			Count     int64
			Mean      float64  `json:"mean_us"`
			P50       *float64 `json:"p50_us"`
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return seen{}, fmt.Errorf("sealbench probe's answer: %w", err)
	}
	for _, r := range d.Rows {
		if r.Op == op && r.Stage == "device" && r.P50 != nil {
			return seen{r.Count, r.Mean, *r.P50}, nil
		}
	}
	return seen{}, fmt.Errorf("sealbench probe saw no %s", op)
}

// benched is what a run of sealbench says of plain I/O.
type benched struct {
	device seen // the stage, with probes
	whole  seen // latency as the loop measured it, without probes
}

func runBench(ctx context.Context, bench, dev string, o options, path string) (benched, error) {
	_, err := output(ctx, "", bench, "run", "--target", dev, "--i-know-this-erases", dev, "--workloads", "W3", "--probes",
		"--rounds", "1", "--round-time", (o.time / 2).Round(time.Millisecond).String(), "--engine", o.engine, "--json", path)
	if err != nil {
		return benched{}, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return benched{}, err
	}
	return parseBench(text)
}

func parseBench(text []byte) (benched, error) {
	type distribution struct {
		Stage string
		Mean  float64 `json:"mean_us"`
		P50   float64 `json:"p50_us"`
	}
	var r struct {
		Workloads []struct {
			Modes map[string]struct {
				distribution
				Samples int64
				Probed  *struct {
					Matched int64
					Stages  []distribution
				}
			}
		}
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return benched{}, fmt.Errorf("sealbench run's answer: %w", err)
	}
	if len(r.Workloads) != 1 || r.Workloads[0].Modes["plain_probed"].Probed == nil {
		return benched{}, errors.New("sealbench run's answer: no round with probes was valid")
	}
	plain, probed := r.Workloads[0].Modes["plain"], r.Workloads[0].Modes["plain_probed"].Probed
	b := benched{whole: seen{plain.Samples, plain.Mean, plain.P50}}
	for _, s := range probed.Stages {
		if s.Stage == "device" {
			b.device = seen{probed.Matched, s.Mean, s.P50}
			return b, nil
		}
	}
	return b, errors.New("sealbench run's answer: no stage device")
}
