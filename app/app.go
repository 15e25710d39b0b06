// Package app wires the house: it builds every room once from the configuration and
// opens the doors of the roles asked for. It is the only place that knows all rooms;
// it holds no rule of mail or of access, and keeps no state of its own.
package app
