package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
	"sealbay/bench"
)

// terminal reports whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colorful reports whether to use colour on w (https://no-color.org).
func colorful(w io.Writer) bool {
	return terminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// progress shows how far a run is: a line that is overwritten on a terminal,
// else a line now and then.
type progress struct {
	w    io.Writer
	live bool
	last time.Time // of the last line
}

// lineEvery is how often a line is written where it cannot be overwritten.
const lineEvery = 2 * time.Second

func newProgress(w io.Writer) *progress {
	return &progress{w: w, live: terminal(w) && os.Getenv("TERM") != "dumb"}
}

func (p *progress) show(at bench.Progress) {
	if !p.live {
		if time.Since(p.last) >= lineEvery {
			p.last = time.Now()
			fmt.Fprintf(p.w, "%3.0f %%  %s%s\n", 100*at.Done, at.Doing, left(at.Left))
		}
		return
	}
	const width = 24
	full := min(width, int(at.Done*width+0.5))
	bar := strings.Repeat("#", full) + strings.Repeat(".", width-full)
	fmt.Fprintf(p.w, "\r\x1b[K%s %3.0f %%  %s%s", bar, 100*at.Done, at.Doing, left(at.Left))
}

func left(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return ", " + d.Round(time.Second).String() + " left"
}

// end takes the live line away.
func (p *progress) end() {
	if p.live {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
