"""Deposits, withdrawals, margin settings, seeding of positions, and the venue's own switches."""

from exchange import codes
from exchange.reference import auction, grid, ledger, margin
from exchange.reference.orders import Reply, check_not_liquidating
from exchange.reference.records import Event, Position, Wallet
from exchange.reference.world import Refused, World, require

AMOUNT_MAX = 2**52
LEVERAGE_MIN_E2 = 100
FEE_MAX_PPM = 100_000
GROUP_MAX = 2**31 - 1
DURATION_MAX_NS = 10**17


def apply_deposit(world: World, event: Event) -> Reply:
    """Bring money from outside; opens a user's wallet."""
    is_user = codes.FIRST_USER <= event.account < world.policy.accounts
    require(is_user or event.account == codes.INSURANCE, codes.BAD_ACCOUNT)
    require(0 <= event.instrument < world.policy.assets, codes.BAD_INSTRUMENT)
    require(1 <= event.qty <= AMOUNT_MAX, codes.BAD_AMOUNT)
    world.wallet(event.account, event.instrument).is_open = True
    ledger.credit(world, event.account, event.instrument, event.qty)
    world.deposits[event.instrument] += event.qty
    return Reply()


def apply_withdraw(world: World, event: Event) -> Reply:
    """Take available money out."""
    require(codes.FIRST_USER <= event.account < world.policy.accounts, codes.BAD_ACCOUNT)
    require(0 <= event.instrument < world.policy.assets, codes.BAD_INSTRUMENT)
    wallet = world.open_wallet(event.account, event.instrument)
    require(1 <= event.qty <= AMOUNT_MAX, codes.BAD_AMOUNT)
    require(margin.available(world, wallet) >= event.qty, codes.INSUFFICIENT_BALANCE)
    require(wallet.unit.stage < codes.STAGE_REDUCE, codes.IN_LIQUIDATION)
    ledger.credit(world, event.account, event.instrument, -event.qty)
    world.withdrawals[event.instrument] += event.qty
    return Reply()


def apply_set_leverage(world: World, event: Event) -> Reply:
    """Change a position's leverage (hundredths) where the margin allows it."""
    contract = world.contract_alone(event.instrument)
    world.open_wallet(event.account, contract.asset)
    require(LEVERAGE_MIN_E2 <= event.qty <= contract.model.tiers[0].leverage_max_e2, codes.BAD_LEVERAGE)
    check_not_liquidating(world, event.account, event.instrument)
    position = world.position(event.account, event.instrument)
    lowers_open = position.lots != 0 and event.qty < position.leverage_e2
    require(position.mode == codes.CROSS or not lowers_open, codes.POSITION_OPEN)
    exposed = margin.exposure(world, position)
    limit = contract.exposure_limit(event.qty)
    require(limit is None or exposed <= limit, codes.LEVERAGE_TIER)
    needed = margin.order_margin(world, position, event.qty)
    if not grid.is_held(world, position) and needed > margin.order_margin(world, position, position.leverage_e2):
        total = needed + margin.wallet_margin(world, position.wallet, without=position)
        require(margin.equity(world, position.wallet.unit) >= total, codes.INSUFFICIENT_MARGIN)
    position.leverage_e2 = event.qty
    return Reply()


def apply_set_margin_mode(world: World, event: Event) -> Reply:
    """Switch between cross and isolated, only while nothing is open."""
    contract = world.contract_alone(event.instrument)
    wallet = world.open_wallet(event.account, contract.asset)
    held = world.find_position(event.account, event.instrument)
    back = event.qty == codes.CROSS and wallet.portfolio and (held is None or held.mode == codes.CROSS)
    if back or event.qty == codes.PORTFOLIO:
        _set_portfolio(world, wallet, event.qty == codes.PORTFOLIO)
        return Reply()
    require(event.qty in (codes.CROSS, codes.ISOLATED), codes.BAD_FLAGS)
    require(contract.option is None or event.qty == codes.CROSS, codes.BAD_FLAGS)
    position = world.position(event.account, event.instrument)
    require(position.isolated_unit.stage == codes.STAGE_NONE, codes.IN_LIQUIDATION)
    has_orders = any(order.instrument == event.instrument for order in position.wallet.orders.values())
    require(position.lots == 0 and not has_orders, codes.POSITION_OPEN)
    for standing in position.isolated_unit.standings:
        standing.inside, standing.acted = False, 0
    position.mode = event.qty
    return Reply()


def _set_portfolio(world: World, wallet: Wallet, chosen: bool) -> None:
    """Margin a wallet by the grid, or no more, where its equity covers that."""
    require(bool(world.grid.scenarios), codes.NO_PORTFOLIO)
    require(wallet.unit.stage == codes.STAGE_NONE, codes.IN_LIQUIDATION)
    if wallet.portfolio == chosen:
        return
    first = not any(other.portfolio for other in world.wallets.values())
    wallet.portfolio = chosen
    for instrument, contract in enumerate(world.contracts):
        if first and contract.option is not None:
            grid.refresh_option(world, instrument)
    code = codes.OK
    if not chosen and any(_is_beyond_tiers(world, position) for position in wallet.unit.positions):
        code = codes.LEVERAGE_TIER
    elif margin.equity(world, wallet.unit) < margin.wallet_margin(world, wallet):
        code = codes.INSUFFICIENT_MARGIN
    if code != codes.OK:
        wallet.portfolio = not chosen
        raise Refused(code)


def _is_beyond_tiers(world: World, position: Position) -> bool:
    """Whether the grid lets a position have more exposure than its leverage allows outside of it."""
    limit = world.contracts[position.instrument].exposure_limit(position.leverage_e2)
    return position.instrument in world.grid.groups and limit is not None and margin.exposure(world, position) > limit


def apply_transfer(world: World, event: Event) -> Reply:
    """Move money into an isolated position's margin, or out of it when negative."""
    contract = world.contract_alone(event.instrument)
    wallet = world.open_wallet(event.account, contract.asset)
    require(event.qty != 0 and abs(event.qty) <= AMOUNT_MAX, codes.BAD_AMOUNT)
    position = _isolated_position(world, event)
    check_not_liquidating(world, event.account, event.instrument)
    if event.qty > 0:
        require(margin.available(world, wallet) >= event.qty, codes.INSUFFICIENT_BALANCE)
    else:
        notional = abs(margin.position_value(world, position))
        rest = margin.equity(world, position.isolated_unit) + event.qty
        enough = rest >= margin.initial(world, position, notional, position.lots, position.leverage_e2)
        require(position.isolated_margin + event.qty >= 0 and enough, codes.INSUFFICIENT_BALANCE)
    ledger.move_margin(position, event.qty)
    return Reply()


def _isolated_position(world: World, event: Event) -> Position:
    position = world.find_position(event.account, event.instrument)
    if position is None or position.mode != codes.ISOLATED or position.lots == 0:
        raise Refused(codes.NOT_ISOLATED)
    return position


def apply_open_position(world: World, event: Event) -> Reply:
    """Seed two opposite positions: the account buys from the one in `order_id`."""
    contract = world.contract_alone(event.instrument)
    world.open_wallet(event.account, contract.asset)
    world.open_wallet(event.order_id, contract.asset)
    require(event.account != event.order_id, codes.BAD_ACCOUNT)
    auction.check_life(world, event.instrument)
    require(1 <= event.qty <= contract.order_max_lots, codes.BAD_LOTS)
    require(contract.ticks_min <= event.price <= contract.ticks_max, codes.BAD_PRICE)
    for account in (event.account, event.order_id):
        check_not_liquidating(world, account, event.instrument)
    buyer = world.position(event.account, event.instrument)
    seller = world.position(event.order_id, event.instrument)
    _check_seed_limits(world, event, buyer, seller)
    ledger.trade(world, event.account, event.instrument, event.price, event.qty, 0)
    ledger.trade(world, event.order_id, event.instrument, event.price, -event.qty, 0)
    return Reply()


def _check_seed_limits(world: World, event: Event, buyer: Position, seller: Position) -> None:
    contract = world.contracts[event.instrument]
    reached = max(margin.reachable_lots(buyer, codes.BID), margin.reachable_lots(seller, codes.ASK))
    require(reached + event.qty <= contract.position_max_lots, codes.POSITION_LIMIT)
    interest = world.open_interest(event.instrument) + world.order_lots(event.instrument) + event.qty
    require(interest <= contract.open_interest_max_lots, codes.OPEN_INTEREST_CAP)


def apply_set_fees(world: World, event: Event) -> Reply:
    """Change maker and taker rates (ppm)."""
    contract = world.contract_of(event.instrument)
    require(max(abs(event.price), abs(event.qty)) <= FEE_MAX_PPM, codes.BAD_AMOUNT)
    contract.maker_ppb, contract.taker_ppb = 1000 * event.price, 1000 * event.qty
    return Reply()


def apply_set_tiers(world: World, event: Event) -> Reply:
    """Let another of the instrument's tier tables hold; 0 is the first."""
    model = world.contract_of(event.instrument).model
    require(0 <= event.qty < len(model.tables), codes.BAD_TIERS)
    model.tier_set = event.qty
    return Reply()


def apply_set_state(world: World, event: Event) -> Reply:
    """SET_STATE, HALT and RESUME: any state but an auction's, which only its end ends."""
    world.contract_of(event.instrument)
    to = {codes.HALT: codes.STATE_HALTED, codes.RESUME: codes.STATE_CONTINUOUS}.get(event.kind, event.qty)
    require(codes.STATE_CONTINUOUS <= to <= codes.STATE_REDUCE_ONLY, codes.BAD_STATE)
    require(world.markets[event.instrument].state != codes.STATE_AUCTION, codes.IN_AUCTION)
    auction.check_life(world, event.instrument)
    auction.change_state(world, event.instrument, to)
    return Reply()


def apply_auction_start(world: World, event: Event) -> Reply:
    """Start an auction for `qty` nanoseconds, or until its end is commanded."""
    contract = world.contract_of(event.instrument)
    require(0 <= event.qty <= DURATION_MAX_NS, codes.BAD_AMOUNT)
    require(event.price in (0, contract.clip_ticks(event.price)), codes.BAD_PRICE)
    require(world.markets[event.instrument].state != codes.STATE_AUCTION, codes.IN_AUCTION)
    auction.check_life(world, event.instrument)
    auction.begin(world, event.instrument, event.qty, event.price, 0)
    return Reply()


def apply_auction_end(world: World, event: Event) -> Reply:
    """End an auction now, at a reference price if the event states one."""
    contract = world.contract_of(event.instrument)
    require(event.price in (0, contract.clip_ticks(event.price)), codes.BAD_PRICE)
    require(world.markets[event.instrument].state == codes.STATE_AUCTION, codes.NO_AUCTION)
    auction.end(world, event.instrument, event.price)
    return Reply()


def apply_set_group(world: World, event: Event) -> Reply:
    """Make the account one owner with all others of a group; 0 = of none."""
    require(codes.FIRST_USER <= event.account < world.policy.accounts, codes.BAD_ACCOUNT)
    require(0 <= event.qty <= GROUP_MAX, codes.BAD_GROUP)
    counted = any(limit.by_group for limit in world.limits)
    require(event.qty < world.policy.accounts or not counted, codes.GROUP_UNCOUNTED)
    world.groups[event.account] = event.qty
    return Reply()
