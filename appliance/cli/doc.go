// Package cli is qq: one command per verb of the control interface, JSON on
// standard output, errors on standard error. Exit status 0 is success, 1 an
// error while running, 2 bad usage. It talks to a node and knows no keys and
// no drives itself.
package cli
