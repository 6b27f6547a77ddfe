import { ApiProperty } from '@nestjs/swagger';
import type { UserView } from './user-view.js';

/** A user as queries answer it. */
export class UserDetails {
  @ApiProperty({ example: 'ann' })
  id!: string;

  @ApiProperty({ example: 'Ann Archer' })
  name!: string;

  @ApiProperty({ example: 'ann@example.com' })
  email!: string;

  @ApiProperty({ enum: ['active', 'deactivated'] })
  status!: 'active' | 'deactivated';

  @ApiProperty({ example: '2026-01-31T09:30:00.000Z', format: 'date-time' })
  createdAt!: string;
}

export const userDetails = (view: UserView): UserDetails => ({ id: view.id, name: view.name, email: view.email, status: view.status, createdAt: view.createdAt.toISOString() });
