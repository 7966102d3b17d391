// Package lint holds the rules of the house as tests. Each says in its failure
// text why it is there; who has a better reason changes the rule, and says so.
package lint
