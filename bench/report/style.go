package report

import (
	"strconv"
	"strings"

	"sealbay/bench/stats"
)

// Printing rules: at most 80 columns, ASCII only (a serial console shows it
// too), four significant digits, a dash for what was not measured. Colour says
// nothing that the words do not say.

// style paints words in terminal colours, or leaves them alone.
type style struct{ color bool }

func (s style) paint(code, text string) string {
	if !s.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string { return s.paint("1", text) }
func (s style) dim(text string) string  { return s.paint("2", text) }

// verdict paints text by what a verdict says.
func (s style) verdict(v stats.Verdict, text string) string {
	switch v {
	case stats.Pass:
		return s.paint("1;32", text)
	case stats.Fail:
		return s.paint("1;31", text)
	}
	return s.paint("1;33", text)
}

// number prints v with four significant digits and no exponent.
func number(v float64) string {
	digits := 3
	for a := v; (a >= 10 || a <= -10) && digits > 0; a /= 10 {
		digits--
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

func optional(v *float64) string {
	if v == nil {
		return "-"
	}
	return number(*v)
}

// wrap breaks text into lines of at most width bytes between words.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
