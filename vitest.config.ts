import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['**/*.test.ts'], exclude: ['node_modules/**', 'dist/**'], testTimeout: 60_000, expect: { poll: { timeout: 10_000 } }, hookTimeout: 60_000, fileParallelism: true, maxWorkers: 2,
    // debugfs, e2fsck and their like, which Debian puts where only root looks.
    env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
  },
});
