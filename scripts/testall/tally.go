package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// tally counts the events of one step.
type tally struct {
	stdout io.Writer

	mu      sync.Mutex // guards all below; the heartbeat reads them
	passed  int
	failed  int
	packs   int
	broken  int // packages that failed
	skipped []string
	running map[string]bool             // packages
	output  map[string]*strings.Builder // of unfinished tests, by package and test
}

func newTally(stdout io.Writer) *tally {
	return &tally{stdout: stdout, running: map[string]bool{}, output: map[string]*strings.Builder{}}
}

// read takes events until r ends. What is not an event is passed on.
func (t *tally) read(r io.Reader) error {
	for d := json.NewDecoder(r); ; {
		var e event
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			rest, _ := io.ReadAll(io.MultiReader(d.Buffered(), r))
			return fmt.Errorf("go test printed what is no event: %s", strings.TrimSpace(string(rest)))
		}
		t.add(e)
	}
}

func (t *tally) add(e event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := e.Package + " " + e.Test
	switch e.Action {
	case "start":
		t.running[e.Package] = true
	case "build-output":
		fmt.Fprint(t.stdout, e.Output)
	case "output":
		if t.output[key] == nil {
			t.output[key] = new(strings.Builder)
		}
		t.output[key].WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e)
		} else {
			t.endTest(e, key)
		}
	}
}

func (t *tally) endTest(e event, key string) {
	text := ""
	if b := t.output[key]; b != nil {
		text = b.String()
	}
	delete(t.output, key)
	switch e.Action {
	case "pass":
		t.passed++
	case "fail":
		t.failed++
		fmt.Fprintf(t.stdout, "--- FAIL: %s %s\n%s", e.Package, e.Test, text)
	case "skip":
		t.skipped = append(t.skipped, fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(text)))
	}
}

// reason is what a skipped test said.
func reason(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			return line
		}
	}
	return "says not why"
}

func (t *tally) endPackage(e event) {
	delete(t.running, e.Package)
	if e.Action == "skip" { // no test files
		return
	}
	t.packs++
	word := "ok  "
	if e.Action == "fail" {
		t.broken++
		word = "FAIL"
		t.leftover(e.Package)
	}
	fmt.Fprintf(t.stdout, "%s  %6.1fs  %s\n", word, e.Elapsed, e.Package)
}

// leftover prints what a failed package and the tests in it that never ended
// said: a panic, a time-out, an os.Exit.
func (t *tally) leftover(pkg string) {
	for _, key := range slices.Sorted(maps.Keys(t.output)) {
		if strings.HasPrefix(key, pkg+" ") {
			fmt.Fprint(t.stdout, t.output[key].String())
			delete(t.output, key)
		}
	}
}

// busy names the packages that run now.
func (t *tally) busy() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(t.running)), " ")
}
