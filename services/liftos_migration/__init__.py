"""LiftOS Migration: will serve `liftos.migration.v1.MigrationService`, which moves modules."""
