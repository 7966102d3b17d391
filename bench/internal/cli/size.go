package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// bytesValue is a flag that reads "256MiB", "1G", "1048576".
type bytesValue int64

func (v *bytesValue) Type() string { return "size" }

func (v *bytesValue) String() string {
	if *v == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*v), 10)
}

// Set reads a whole number with K, M, G or T for powers of 1024; KiB and so
// on mean the same, KB and so on powers of 1000.
func (v *bytesValue) Set(s string) error {
	digits := strings.TrimRight(s, "KMGTiBkmgtb")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is no size like 256MiB", s)
	}
	unit := strings.ToUpper(strings.TrimPrefix(s, digits))
	base := int64(1024)
	if len(unit) == 2 && unit[1] == 'B' {
		base = 1000
	}
	i := 0
	if letter := strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "I"); letter != "" {
		if i = strings.Index("KMGT", letter) + 1; i == 0 || len(letter) != 1 {
			return fmt.Errorf("%q is no size like 256MiB", s)
		}
	}
	for range i {
		if n > math.MaxInt64/base {
			return fmt.Errorf("%q is too large", s)
		}
		n *= base
	}
	*v = bytesValue(n)
	return nil
}
