package cli

import (
	"errors"
	"strings"

	"sealbay/bench"
	"sealbay/bench/probe"
	"sealbay/bench/target"
	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
)

// remedies says what to do about errors that the packages below only state.
var remedies = []struct {
	err  error
	text string
}{
	{target.ErrHoldsData, "; to erase it, add --i-know-this-erases with its path or serial"},
	{target.ErrOtherTarget, "; name the target's own path or serial"},
	{blockdev.ErrBusy, "; unmount or release it first"},
	{bench.ErrPlaintext, "; do not trust this volume with data"},
	{probe.ErrNoBlockDevice, "; name a block device (ls /sys/block)"},
	{blockcrypt.ErrNoHeader, "; without --state a volume is made for the run"},
}

// explain returns the text for a person, and the exit code.
func explain(err error) (string, int) {
	if errors.Is(err, errUsage) || strings.HasPrefix(err.Error(), "unknown command") {
		return strings.TrimPrefix(err.Error(), errUsage.Error()+"\n"), 2
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if bad := new(bench.IntegrityError); errors.As(err, &bad) {
		text = "the run is worthless: " + text
	}
	for _, r := range remedies {
		if errors.Is(err, r.err) {
			return text + r.text, 1
		}
	}
	return text, 1
}
