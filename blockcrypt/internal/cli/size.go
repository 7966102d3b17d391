package cli

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// size is a flag of a number of bytes: 4096, 64KiB, 1MiB, 2GiB, 1TiB.
type size int64

var units = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}

func (s *size) String() string { return strconv.FormatInt(int64(*s), 10) }
func (s *size) Type() string   { return "bytes" }

// Set parses text.
func (s *size) Set(text string) error {
	unit := int64(1)
	for _, u := range units {
		if strings.HasSuffix(text, u.name) {
			unit, text = u.bytes, strings.TrimSuffix(text, u.name)
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return errors.New("not a number of bytes like 4096, 64KiB or 1MiB")
	}
	*s = size(n * unit)
	return nil
}
