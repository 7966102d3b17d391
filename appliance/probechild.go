package appliance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"sealbay/appliance/rest"
)

// probe is one "sealbench probe" and what it said last. The process ends with
// the daemon, however that ends; the kernel then frees its BPF programs.
type probe struct {
	device string
	cancel context.CancelFunc // has the process end
	first  chan struct{}      // closed once it counts
	ended  chan struct{}      // closed once the process is gone

	mu      sync.Mutex // guards what is below
	partial []byte     // of a line
	since   time.Time
	last    snapshot
	stderr  []byte // its end
	fault   error  // what is wrong with what it writes
	err     error  // why it ended, if nobody asked it to
}

// snapshot is a line of "sealbench probe --json -", version 1.
type snapshot struct {
	Version   int     `json:"version"`
	Seconds   float64 `json:"seconds"`
	Unmatched uint64  `json:"unmatched"`
	Rows      []struct {
		Op    string `json:"op"`
		Stage string `json:"stage"`
		rest.ProbeStage
	} `json:"rows"`
}

const (
	snapshotVersion = 1
	maxSnapshot     = 1 << 20 // bytes of a line; 8 histograms of a few hundred buckets take a tenth
	maxStderr       = 4 << 10 // bytes that are kept
	probeGrace      = 3 * time.Second
)

// startProbe starts the program on a device and looks after it.
func startProbe(device, program string, log *slog.Logger) *probe {
	ctx, cancel := context.WithCancel(context.Background())
	p := &probe{device: device, cancel: cancel, first: make(chan struct{}), ended: make(chan struct{})}
	cmd := exec.CommandContext(ctx, program, "probe", "--json", "-", "--device", device)
	cmd.Stdout, cmd.Stderr = (*probeLines)(p), (*probeErrors)(p)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it says its last figures
	cmd.WaitDelay = probeGrace                                               // then it is killed
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	go p.run(ctx, cmd, log)
	return p
}

// run is the process's life. Pdeathsig is about the thread that started it
// (prctl(2), PR_SET_PDEATHSIG), which therefore stays.
func (p *probe) run(ctx context.Context, cmd *exec.Cmd, log *slog.Logger) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.ended)
	defer p.cancel()
	log.Info("probe starts", "device", p.device)
	err := cmd.Run()
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil && p.fault == nil {
		log.Info("probe stopped", "device", p.device)
		return
	}
	p.err = p.because(err)
	log.Warn("a probe ended by itself", "device", p.device, "error", p.err)
}

// because adds what the process said to the way it ended. The caller holds mu.
func (p *probe) because(err error) error {
	said := strings.ReplaceAll(strings.TrimSpace(string(p.stderr)), "\n", "; ")
	switch {
	case p.fault != nil:
		return p.fault
	case said != "":
		return errors.New(said)
	case err == nil:
		return fmt.Errorf("%s ended and did not say why", probeProgram)
	}
	return fmt.Errorf("%s ended: %w", probeProgram, err)
}

// begun waits until requests are counted.
func (p *probe) begun(ctx context.Context) error {
	late := time.NewTimer(probeStart)
	defer late.Stop()
	select {
	case <-p.first:
		return nil
	case <-ctx.Done():
		return rest.Errorf(503, "%s: not waited for: %v; nothing is running", p.device, context.Cause(ctx))
	case <-late.C:
		return rest.Errorf(503, "%s: %s did not begin to count within %v; nothing is running", p.device, probeProgram, probeStart)
	case <-p.ended:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return rest.Errorf(409, "%s: the probe was stopped before it began", p.device)
	}
	return rest.Errorf(503, "%s cannot be probed: %v", p.device, p.err)
}

// stop ends the process and returns when it is gone, after probeGrace at most.
func (p *probe) stop() {
	p.cancel()
	<-p.ended
}

func (p *probe) alive() bool { return !closed(p.ended) }

// counts reports whether there ever were figures.
func (p *probe) counts() bool { return closed(p.first) }

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// row is what there is to tell.
func (p *probe) row() rest.Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := rest.Probe{Device: p.device, RunningSince: p.since, Seconds: p.last.Seconds, Unmatched: p.last.Unmatched}
	if p.err != nil {
		r.Problem = p.err.Error()
	}
	if len(p.last.Rows) > 0 {
		r.Operations = map[string]map[string]rest.ProbeStage{}
	}
	for _, row := range p.last.Rows {
		if r.Operations[row.Op] == nil {
			r.Operations[row.Op] = map[string]rest.ProbeStage{}
		}
		r.Operations[row.Op][row.Stage] = row.ProbeStage
	}
	return r
}

// probeLines takes the process's standard output. What cannot be understood
// makes it end.
type probeLines probe

func (l *probeLines) Write(b []byte) (int, error) {
	p := (*probe)(l)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault = p.takeLines(b); p.fault != nil {
		p.cancel()
		return 0, p.fault
	}
	return len(b), nil
}

// takeLines keeps the figures of every whole line. The caller holds mu.
func (p *probe) takeLines(b []byte) error {
	p.partial = append(p.partial, b...)
	for {
		line, after, whole := bytes.Cut(p.partial, []byte("\n"))
		if !whole {
			break
		}
		if err := p.take(line); err != nil {
			return err
		}
		p.partial = append(p.partial[:0], after...)
	}
	if len(p.partial) > maxSnapshot {
		return fmt.Errorf("%s wrote a line of more than %d bytes", probeProgram, maxSnapshot)
	}
	return nil
}

// take keeps a line's figures. The caller holds mu.
func (p *probe) take(line []byte) error {
	var s snapshot
	if err := json.Unmarshal(line, &s); err != nil {
		return fmt.Errorf("%s wrote what is no JSON: %w", probeProgram, err)
	}
	if s.Version != snapshotVersion {
		return fmt.Errorf("%s is of another release: it writes figures of version %d, version %d was expected", probeProgram, s.Version, snapshotVersion)
	}
	if p.last = s; p.since.IsZero() {
		p.since = time.Now().UTC()
		close(p.first)
	}
	return nil
}

// probeErrors keeps the end of the process's standard error.
type probeErrors probe

func (p *probeErrors) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stderr = append(p.stderr, b...)
	p.stderr = p.stderr[max(0, len(p.stderr)-maxStderr):]
	return len(b), nil
}
