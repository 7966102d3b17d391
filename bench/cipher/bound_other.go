//go:build !amd64 || purego

package cipher

const aesPerTurn = 1

// aesLoops: no bound is measured here.
func aesLoops() map[int]func(turns int) { return nil }

var boundWidths = map[string]int{}

// clockLoop is missing: the clock is not measured here.
var clockLoop func(turns int)

const clockCycles = 1
