//go:build !purego

package keyring

//go:noescape
func clearVectors()
