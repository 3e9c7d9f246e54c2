// Package checkpoint reads model files: names to arrays, nothing more.
package checkpoint
