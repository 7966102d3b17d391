package cli

import (
	"strconv"

	"sealbay/bench/internal/size"
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

func (v *bytesValue) Set(s string) error {
	n, err := size.Parse(s)
	*v = bytesValue(n)
	return err
}
