//go:build (!amd64 && !arm64) || purego

package xts

// assembly lists no implementation where there is none, or under purego.
func assembly() []implementation { return nil }
