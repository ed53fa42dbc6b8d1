"""Tables of the service."""

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    total: Mapped[int]


class Bill(Base):
    __tablename__ = "bill"

    order_id: Mapped[str] = mapped_column(primary_key=True)
    total: Mapped[int]
