// Package size reads and prints sizes such as 256MiB.
package size

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Parse reads a whole number with K, M, G or T for powers of 1024; KiB and so
// on mean the same, KB and so on powers of 1000.
func Parse(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGTiBkmgtb")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is no size like 256MiB", s)
	}
	unit := strings.ToUpper(strings.TrimPrefix(s, digits))
	base := int64(1024)
	if len(unit) == 2 && unit[1] == 'B' {
		base = 1000
	}
	i := 0
	if letter := strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "I"); letter != "" {
		if i = strings.Index("KMGT", letter) + 1; i == 0 || len(letter) != 1 {
			return 0, fmt.Errorf("%q is no size like 256MiB", s)
		}
	}
	for range i {
		if n > math.MaxInt64/base {
			return 0, fmt.Errorf("%q is too large", s)
		}
		n *= base
	}
	return n, nil
}

// String prints n bytes in the largest unit that divides them: "128 KiB".
func String(n int64) string {
	unit := 0
	for n >= 1024 && n%1024 == 0 && unit < 4 {
		n /= 1024
		unit++
	}
	return fmt.Sprintf("%d %s", n, [...]string{"bytes", "KiB", "MiB", "GiB", "TiB"}[unit])
}
