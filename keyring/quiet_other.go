//go:build !amd64 || purego

package keyring

// clearVectors does nothing: the appliance runs on amd64.
func clearVectors() {}
